"""Coverage-guided fuzzing of everything that reads foreign bytes.

1. A target is one reader of the product with valid documents to begin from, made by the product's own writers.
2. The reader may accept, or refuse with the error that its docstring names. Anything else is a crash: another
   exception, more than `SECONDS` for one input, more memory than `MEMORY_BYTES`, the end of the process.
3. A refusal is read by people and stored: its message is at most `LONGEST_MESSAGE` characters and can be encoded.
4. What is accepted must be of use: it is written and read again, or held against an independent reader.
5. Mutations know the format (JSON, protobuf, tar, TOML, PNG, zip) and sign or seal again, so that the reader behind a
   checksum, a signature or an encryption is reached as well. They are pure functions of bytes and a random generator.

    python -m tests.fuzz engine --seconds 600
    python -m tests.fuzz all --seconds 60 --json
"""
