"""The model people take home: ONNX export, measured parity, prediction. Imports nothing heavy."""
