from trainables.data.content_remarks import File, content_remarks


def file(path, label="cat", split="train", digest="a", largest=None):
    return File(path, split, label, digest, largest)


def test_nothing_is_said_of_files_that_differ():
    assert content_remarks([file("1", digest="a"), file("2", digest="b", label="dog", split="val")]) == ()


def test_equal_files_are_no_news_within_a_class_and_a_split():
    assert content_remarks([file("1"), file("2")]) == ()


def test_equal_files_are_counted_once_each():
    files = [file("1"), file("2", label="dog"), file("3", split="val"), file("4", digest="b")]
    files += [file("5", digest="b", split="test"), file("6", digest="c", split="test"), file("7", digest="c")]
    (remark,) = content_remarks(files)
    assert "1 under two labels, 2 in both train and test, 1 in both train and val;" in remark


def test_images_that_will_look_black_are_named():
    dark = [file(f"{number}.png", digest=str(number), largest=4080 + number) for number in range(4)]
    (remark,) = content_remarks([*dark, file("bright.png", digest="b", largest=2**14)])
    assert remark.startswith("4 of the images have 16 bits but no value above 4083 of 65535")
    assert "0.png, 1.png, 2.png, ...;" in remark
