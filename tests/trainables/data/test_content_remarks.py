from trainables.data.content_remarks import File, black_remark, equal_remark, near_remark


def file(path, label="cat", split="train", digest="a", largest=None, hash=None):
    return File(path, split, label, digest, largest, hash)


def test_nothing_is_said_of_files_that_differ():
    files = [file("1", digest="a", hash=0xFF), file("2", digest="b", label="dog", split="val", hash=0xFF00)]
    assert (equal_remark(files), near_remark(files), black_remark(files)) == (None, None, None)


def test_equal_files_are_no_news_within_a_class_and_a_split():
    assert equal_remark([file("1"), file("2")]) is None


def test_equal_files_are_counted_once_each():
    files = [file("1"), file("2", label="dog"), file("3", split="val"), file("4", digest="b")]
    files += [file("5", digest="b", split="test"), file("6", digest="c", split="test"), file("7", digest="c")]
    assert "1 under two labels, 2 in both train and test, 1 in both train and val;" in str(equal_remark(files))


def test_an_image_that_is_trained_on_and_validated_is_not_twice_there():
    assert equal_remark([file("1"), file("1", split="val")]) is None
    assert near_remark([file("1", hash=0xFF), file("1", split="val", hash=0xFF)]) is None


def test_near_duplicates_are_counted_by_group_and_splits():
    alike = [
        file("1", digest="a", hash=0xFF),
        file("2", digest="b", hash=0xFE),
        file("3", "cat", "test", "c", None, 0xFF),
    ]
    within = [file("4", digest="d", hash=0xFF0000), file("5", digest="e", hash=0xFF0000)]
    equal = [file("6", digest="f", hash=0xFF00000000), file("7", "cat", "val", "f", None, 0xFF00000000)]
    assert ": 1 in both train and test;" in str(near_remark([*alike, *within, *equal]))
    assert near_remark([*within, *equal]) is None


def test_images_of_one_color_are_not_alike():
    blank = 1 << 63
    assert near_remark([file("1", digest="a", hash=blank), file("2", "cat", "val", "b", None, blank)]) is None


def test_images_that_will_look_black_are_named():
    dark = [file(f"{number}.png", digest=str(number), largest=4080 + number) for number in range(4)]
    remark = str(black_remark([*dark, file("bright.png", digest="b", largest=2**14)]))
    assert remark.startswith("4 of the images have 16 bits but no value above 4083 of 65535")
    assert "0.png, 1.png, 2.png, ...;" in remark
