"""A trained model as something to hand on: a bundle, an ONNX file, a torch.export program."""
