"""Trained networks in ONNX Runtime and OpenVINO: written for them, and run by them."""
