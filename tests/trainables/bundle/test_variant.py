from trainables.bundle.variant import Variant


def test_each_variant_has_a_file_of_its_own() -> None:
    files = ["model.fp16.onnx", "model.int8.onnx", "model.ort", "model.web.html"]
    assert [variant.file for variant in Variant] == files
