"""The fuzzer's corpus as one text file: an input a line, bytes outside printable ASCII as \\xNN.

  corpus.py pack FOLDER     writes corpus.txt from the inputs in FOLDER, the shortest first
  corpus.py unpack FOLDER   writes the inputs of corpus.txt into FOLDER, for the fuzzer to begin with
"""

import hashlib
import pathlib
import re
import sys

TEXT = pathlib.Path(__file__).with_name("corpus.txt")


def escape(data):
    return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02x}" for b in data)


def unescape(line):
    return re.sub(rb"\\x(..)", lambda found: bytes([int(found[1], 16)]), line.encode())


action, folder = sys.argv[1], pathlib.Path(sys.argv[2])
if action == "pack":
    inputs = sorted((path.read_bytes() for path in folder.iterdir()), key=lambda data: (len(data), data))
    TEXT.write_text("".join(escape(data) + "\n" for data in inputs if data))
elif action == "unpack":
    folder.mkdir(parents=True, exist_ok=True)
    for line in TEXT.read_text().splitlines():
        data = unescape(line)
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
else:
    sys.exit(__doc__)
