from trainables.bundle.variant import Variant


def test_each_variant_has_a_file_of_its_own() -> None:
    assert [variant.file for variant in Variant] == ["model.fp16.onnx", "model.int8.onnx", "model.ort"]
