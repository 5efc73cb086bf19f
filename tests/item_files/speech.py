"""The signature of a speaker, with one input of each kind."""

from kernelport.signature import Signature, tensor_spec
from kernelport.v1 import inference_pb2 as pb

SPEECH = Signature(
    inputs=[
        tensor_spec("text", pb.U8, ["bytes"], max_characters=5000),
        tensor_spec("speed", pb.F32, [1], optional=True, minimum=0.5, maximum=2),
        tensor_spec("seed", pb.I64, [1], optional=True),
        tensor_spec("matrix", pb.F32, ["rows", 2], optional=True),
        tensor_spec("loud", pb.BOOL, [1], optional=True),
        tensor_spec("voice", pb.U8, ["bytes"], optional=True),
        tensor_spec("tags", pb.STRING, ["tags"], optional=True),
    ]
)
