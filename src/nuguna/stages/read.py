"""Take in the data that the user named, before anything that needs seconds to load."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ..data.dataset import BadRowsError, Dataset, load_dataset
from ..data.facts import DEMO
from ..data.files.columns import split_columns
from ..data.files.rows import BadRow
from ..disk.run_folder import BAD_ROWS, is_finished, is_ours, make_folder, write_text
from ..errors import EnvironmentFault
from ..plan.settings import Request, setting_named

DEFAULT_FOLDER = setting_named("output_dir").default


def read_data(request: Request, on_rows: Callable[[int], None] = lambda count: None) -> Dataset:
    """Return the dataset that the user named; `on_rows` is told how many rows were read.

    Raises `DataError`; when too many rows are broken, they stand in the run folder.
    """
    source, columns = request.data or DEMO, request.data_columns
    try:
        return load_dataset(source, split_columns(columns) if columns else (), on_rows)
    except BadRowsError as error:
        folder = Path(request.output_dir or DEFAULT_FOLDER).expanduser()
        if is_ours(folder) and not is_finished(folder):  # an earlier result stays as it is
            with suppress(EnvironmentFault):
                make_folder(folder)
                write_bad_rows(folder, error.bad_rows)
                error = error.with_list(folder / BAD_ROWS)
        raise error from None


def write_bad_rows(folder: Path, bad_rows: Sequence[BadRow]) -> None:
    """All rows that were left out because they are broken, one JSON object a line; no file when there is
    none.
    """
    path = folder / BAD_ROWS
    if bad_rows:
        write_text(path, "".join(json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in bad_rows))
    else:
        path.unlink(missing_ok=True)
