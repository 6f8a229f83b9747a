# Executes a notebook as Jupyter does, in its folder, and prints what it did as
# JSON. A cell that fails ends it with the cell and the error.
import json
import os
import sys

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

path = sys.argv[1]
notebook = nbformat.read(path, as_version=4)
nbformat.validate(notebook)
client = NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": os.path.dirname(path)}})
try:
    client.execute()
except CellExecutionError as err:
    sys.exit(str(err))
outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
print(json.dumps({
    "images": sum("image/png" in o.get("data", {}) for o in outputs),
    "text": "".join(o["text"] for o in outputs if o.output_type == "stream" and o.name == "stdout"),
    "warnings": "".join(o["text"] for o in outputs if o.output_type == "stream" and o.name == "stderr"),
}))
