"""Convolutions, pooling, resizing: rows are the batch, and nothing slides along them."""

from collections.abc import Sequence

from kernelport_workers.row_proof.dimensions import Size, at_least, axis_size, floor_divide
from kernelport_workers.row_proof.nodes import MICROSOFT, Node, off_axis, rule, whole_axis
from kernelport_workers.row_proof.rules.shapes import named_size, real_sizes
from kernelport_workers.row_proof.values import Mixed, Unknown, Value, Verdict, constant, stopped

_WINDOW = {"kernel_shape", "strides", "pads", "dilations", "auto_pad", "ceil_mode"}


@rule("Conv", "ConvInteger", ignored={"group"})
@rule("QLinearConv", ignored={"group"})
@rule("FusedConv", domain=MICROSOFT, ignored={"group", "activation", "activation_params"})
def convolution(node: Node) -> Value:
    value = node.tensor(0)
    kernel = node.constant(3 if node.operator == "QLinearConv" else 1)
    if node.operator == "FusedConv" and node.has(3):
        raise Unknown("adds another tensor")
    node.constants(*range(1, node.count))
    if node.operator != "Conv":
        _one_scale(node, {"ConvInteger": [2], "QLinearConv": [1, 2, 6, 7]}.get(node.operator, []))
    off_axis(value, range(1, value.rank), "slides along")
    shape = node.attribute("kernel_shape") or kernel.shape[2:]
    return _batch(value, [kernel.shape[0], *_windows(node, value, shape)])


def _one_scale(node: Node, indices: Sequence[int]) -> None:
    """Scales and zero points of what has rows have one element."""
    for index in indices:
        if node.has(index) and any(size != 1 for size in node.any(index).shape):
            raise Unknown("has a scale for each row")


@rule("ConvTranspose", ignored={"group", *_WINDOW, "output_padding", "output_shape"})
def transposed_convolution(node: Node) -> Value:
    value = node.tensor(0)
    kernel = node.constant(1)
    node.constants(2)
    off_axis(value, range(1, value.rank), "slides along")
    channels = kernel.shape[1] * node.attribute("group", 1)
    return _batch(value, [channels, *_unknown_space(node, value)])


@rule("DeformConv", ignored={"group", "offset_group"})
def deformed_convolution(node: Node) -> Value:
    value = node.tensor(0)
    kernel = node.constant(1)
    off_axis(value, range(1, value.rank), "slides along")
    _same_batch(value, [node.tensor(2), *([node.tensor(4)] if node.has(4) else [])])
    node.constants(3)
    shape = node.attribute("kernel_shape") or kernel.shape[2:]
    return _batch(value, [kernel.shape[0], *_windows(node, value, shape)])


@rule("MaxPool", ignored={"storage_order"})
def max_pool(node: Node) -> list[Value]:
    return [
        _pooled(node),
        stopped(Verdict.REFUTED, f"{node.label} gives places that are counted through all rows"),
    ]


@rule("AveragePool", ignored={"count_include_pad"})
@rule("LpPool", ignored={"p"})
def pool(node: Node) -> Value:
    return _pooled(node)


def _pooled(node: Node) -> Value:
    value = node.tensor(0)
    off_axis(value, range(1, value.rank), "slides along")
    if node.operator == "LpPool" and node.version < 2:
        raise Unknown("pools by the rules of opset 1")
    return _batch(value, [value.shape[1], *_windows(node, value, node.attribute("kernel_shape", ()))])


@rule("GlobalAveragePool", "GlobalMaxPool")
@rule("GlobalLpPool", ignored={"p"})
def global_pool(node: Node) -> Value:
    value = node.tensor(0)
    off_axis(value, range(2, value.rank), "pools along")
    dims: list[Size] = [*value.shape[:2], *[1] * (value.rank - 2)]
    return value.with_rows(dims, value.rows.axis) if value.rows else constant(dims)


def _batch(value: Value, dims: Sequence[Size]) -> Value:
    sizes = [value.shape[0], *dims]
    return value.with_rows(sizes, 0) if value.rows else constant(sizes)


def _same_batch(value: Value, others: Sequence[Value]) -> None:
    """Refuses tensors of which not all have the rows on axis 0, or none of them rows."""
    if any(other.rows != value.rows for other in others):
        raise Unknown("does not find the same rows in all its inputs")


def _windows(node: Node, value: Value, kernel: Sequence[Size]) -> list[Size]:
    """How many places a window has on each axis after the first two."""
    axes = range(value.rank - 2)
    strides = node.attribute("strides") or [1 for _ in axes]
    dilations = node.attribute("dilations") or [1 for _ in axes]
    pads = node.attribute("pads") or [0 for _ in (*axes, *axes)]
    padding = node.text("auto_pad", "NOTSET")
    ceiling = node.attribute("ceil_mode", 0)
    if not len(kernel) == len(strides) == len(dilations) == len(pads) // 2 == len(axes):
        raise Unknown("has a window of other axes than its input")
    sizes = []
    for axis, size, reach, stride, dilation in zip(axes, value.shape[2:], kernel, strides, dilations, strict=True):
        if ceiling or (padding.startswith("SAME") and dilation != 1):
            # How the pads are split counts, too.
            sizes.append(named_size(node, axis + 2))
            continue
        if padding.startswith("SAME"):
            sizes.append(floor_divide(size + (stride - 1), stride))
            continue
        room = size + (pads[axis] + pads[axis + len(axes)] if padding == "NOTSET" else 0)
        room = room - ((reach - 1) * dilation + 1)
        if isinstance(room, int) and room >= 0:
            sizes.append(room // stride + 1)
        elif stride == 1 and room == size - 1:
            sizes.append(size)
        else:
            sizes.append(axis_size("places", node.operator, room, stride))
    return sizes


def _unknown_space(node: Node, value: Value) -> list[Size]:
    return [named_size(node, axis) for axis in range(2, value.rank)]


@rule(
    "Upsample",
    "Resize",
    ignored={"nearest_mode", "cubic_coeff_a", "exclude_outside", "extrapolation_value", "antialias"},
)
def resize(node: Node) -> Value:
    value = node.tensor(0)
    if node.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise Unknown("crops")
    axes = node.attribute("axes")
    axes = list(range(value.rank)) if axes is None else [whole_axis(axis, value.rank) for axis in axes]
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if node.operator == "Resize" and node.version >= 11:
        node.constants(1)
        scales, target = 2, 3
    else:
        scales, target = 1, 4
    interpolates = node.text("mode", "nearest") != "nearest"
    dims = list(value.shape)
    touches_rows = value.rows is not None and value.rows.axis in axes
    if node.has(target) and not _is_empty(node, target):
        if touches_rows and policy != "stretch":
            raise Unknown("keeps the ratio of the rows' axis to others")
        if node.any(target).content is None and not touches_rows:
            node.constant(target)
            sizes: list[Size] = [named_size(node, axis) for axis in axes]
        else:
            sizes = node.sizes(target)
        if policy != "stretch":
            sizes = [named_size(node, axis) for axis in axes]
        _put(dims, axes, sizes)
    else:
        if node.operator == "Upsample" and node.version < 9:
            given: Sequence[float] | None = node.attribute("scales")
        else:
            content = node.constant(scales).content
            given = None if content is None or content.dtype == object else content.tolist()
        if given is None:
            if touches_rows:
                raise Unknown("takes scales that cannot be followed")
            _put(dims, axes, [named_size(node, axis) for axis in axes])
        else:
            _put(dims, axes, [_scaled(node, axis, dims[axis], scale) for axis, scale in zip(axes, given, strict=True)])
    node.constants(scales)
    if touches_rows and value.rows is not None and dims[value.rows.axis] != value.rows.size:
        raise Mixed("resizes the axis of the rows")
    # Also where nothing is resized: the runtime adds neighbours times 0, and 0 times NaN is NaN. It leaves the first
    # axis of images and volumes alone, and no other.
    if interpolates and value.rows is not None and (value.rows.axis != 0 or value.rank not in (4, 5)):
        raise Unknown("interpolates, which the runtime may do along the rows, too")
    return value.with_rows(dims, value.rows.axis) if value.rows else constant(dims)


def _is_empty(node: Node, index: int) -> bool:
    return node.any(index).dims == (0,)


def _put(dims: list[Size], axes: Sequence[int], sizes: Sequence[Size]) -> None:
    for axis, size in zip(axes, sizes, strict=True):
        if not at_least(size, 0):
            raise Unknown(f"gives an axis of {size} elements, which cannot be followed")
        dims[axis] = size


def _scaled(node: Node, axis: int, size: Size, scale: float) -> Size:
    if float(scale).is_integer():
        return size * int(scale)
    return named_size(node, axis)


@rule("GridSample", ignored={"mode", "padding_mode", "align_corners"})
def grid_sample(node: Node) -> Value:
    value, grid = node.tensor(0), node.tensor(1)
    off_axis(value, range(1, value.rank), "samples along")
    _same_batch(value, [grid])
    return _batch(value, [value.shape[1], *grid.shape[1:-1]])


@rule("AffineGrid", ignored={"align_corners"})
def affine_grid(node: Node) -> Value:
    value = node.tensor(0)
    off_axis(value, range(1, value.rank), "multiplies along")
    sizes = real_sizes(node, node.sizes(1))
    if value.rows is not None and (sizes[0] != value.rows.size):
        raise Unknown("gives a grid of another number of rows")
    return _batch(value, [*sizes[2:], len(sizes) - 2])


@rule(
    "MaxRoiPool",
    "RoiAlign",
    ignored={
        "pooled_shape",
        "spatial_scale",
        "mode",
        "output_height",
        "output_width",
        "sampling_ratio",
        "coordinate_transformation_mode",
    },
)
def regions(node: Node) -> Value:
    if any(node.tensor(index).rows for index in range(node.count)):
        raise Mixed("cuts regions out of any row")
    return constant()


@rule("MaxUnpool", ignored=_WINDOW)
def max_unpool(node: Node) -> Value:
    if any(node.tensor(index).rows for index in range(node.count)):
        raise Mixed("takes places that are counted through all rows")
    return constant()


@rule("Col2Im", ignored={"strides", "pads", "dilations"})
def columns_to_image(node: Node) -> Value:
    value = node.tensor(0)
    off_axis(value, range(1, value.rank), "slides along")
    node.integers(2)
    return _batch(value, [named_size(node, 1), *node.integers(1)])


@rule("CenterCropPad")
def center_crop_pad(node: Node) -> Value:
    value = node.tensor(0)
    axes = node.attribute("axes")
    axes = list(range(value.rank)) if axes is None else [whole_axis(axis, value.rank) for axis in axes]
    dims = list(value.shape)
    _put(dims, axes, node.sizes(1))
    if value.rows is not None and dims[value.rows.axis] != value.rows.size:
        raise Mixed("cuts the axis of the rows")
    return value.with_rows(dims, value.rows.axis) if value.rows else constant(dims)


@rule("STFT", ignored={"onesided"})
def short_time_fourier(node: Node) -> Value:
    value = node.tensor(0)
    off_axis(value, range(1, value.rank), "slides along")
    node.constants(1, 2, 3)
    return _batch(value, [named_size(node, 1), named_size(node, 2), 2])


@rule("DFT", ignored={"onesided", "inverse"})
def fourier(node: Node) -> Value:
    value = node.tensor(0)
    node.constants(1)
    if node.version < 20:
        axis = node.attribute("axis", 1)
    elif node.has(2):
        (axis,) = node.integers(2)
    else:
        axis = -2
    axis = whole_axis(axis, value.rank)
    off_axis(value, [axis, value.rank - 1], "transforms along")
    dims = [*value.shape[:-1], named_size(node, value.rank - 1)]
    dims[axis] = named_size(node, axis)
    return value.with_rows(dims, value.rows.axis) if value.rows else constant(dims)


@rule("HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix", ignored={"output_datatype", "periodic"})
def window(node: Node) -> Value:
    node.constants(*range(node.count))
    return constant([named_size(node, axis) for axis in range(2 if node.operator == "MelWeightMatrix" else 1)])


@rule("DepthToSpace", "SpaceToDepth", ignored={"mode"})
def blocks(node: Node) -> Value:
    value = node.tensor(0)
    block = node.attribute("blocksize")
    if value.rank != 4:
        raise Unknown("takes a tensor that has not 4 axes")
    off_axis(value, (1, 2, 3), "moves elements along")
    batch, channels, *space = value.shape
    if node.operator == "DepthToSpace":
        channels = floor_divide(channels, block * block)
        space = [size * block for size in space]
    else:
        channels = channels * (block * block)
        space = [floor_divide(size, block) for size in space]
    return value.with_rows([batch, channels, *space], 0)
