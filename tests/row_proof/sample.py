"""How a model of a sample is written: a graph in ONNX's text syntax (see `stacking.model_of`)."""

Sample = tuple[str, str | None]
"""A graph, and the operator sets it is written for, if they are not the usual ones."""


def one_node(
    inputs: str, expression: str, dtype: str = "float", constants: str = "", opsets: str | None = None
) -> Sample:
    """A model of one node."""
    listed = f"<{constants}>" if constants else ""
    return f"g ({inputs}) => ({dtype}[] y) {listed} {{ y = {expression} }}", opsets


def whole(graph: str, opsets: str | None = None) -> Sample:
    """A model of any nodes."""
    return graph, opsets
