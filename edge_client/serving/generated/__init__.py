"""Messages of the Open Inference Protocol, generated from `open_inference.proto`.

    python -m grpc_tools.protoc -I . --python_out=. edge_client/serving/generated/open_inference.proto

at the root of the repository, with the grpcio-tools of `constraints.txt`.
"""
