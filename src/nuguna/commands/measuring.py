"""evaluate, compare and score: how good a model, several of them, or a file of answers is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import SettingError
from ..message import say
from .frame import DEFAULT_RUN, JsonFlag, app, errors, open_screen, print_json, t


@app.command(
    help=t(
        say("Measure a run, an adapter or a model on questions: base and tuned side by side, with intervals.")
    )
)
def evaluate(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|ADAPTER|MODEL", help=t(say("folder of a run or adapter, local model, or owner/name"))
        ),
    ] = DEFAULT_RUN,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="FILE", help=t(say("other questions [those held out from the run's training]"))
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--data-columns", help=t(say("QUESTION,ANSWER or one column of plain text")))
    ] = None,
    base: Annotated[
        bool, typer.Option("--base/--no-base", help=t(say("measure the base model as well as the adapter")))
    ] = True,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help=t(say("maximum number of questions")))
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks", metavar="NAMES", help=t(say("standard tasks instead, with lm-evaluation-harness"))
        ),
    ] = None,
    tasks_path: Annotated[
        str | None,
        typer.Option(
            "--tasks-path", metavar="FOLDER", help=t(say("folder with descriptions of your own tasks"))
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help=t(say("which questions are drawn [as in the run]")))
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """`nuguna evaluate`."""
    _, screen = open_screen(None, as_json)
    with errors(screen, as_json):
        from ..data.files.columns import split_columns
        from ..jobs.evaluate import Wish, evaluate, evaluate_tasks
        from ..ui.score_view import show_examined, show_tasks

        if (tasks is None and tasks_path) or (tasks is not None and data):
            raise _unlike_options()
        wish = Wish(target, data, split_columns(columns) if columns else (), limit, seed, base)
        if tasks is not None:
            document = evaluate_tasks(
                wish, tasks.split(","), Path(tasks_path) if tasks_path else None, screen
            )
            print_json(document) if as_json else show_tasks(document, screen)
            return
        found = evaluate(wish, screen)
        print_json(found.to_json()) if as_json else show_examined(found, screen)


def _unlike_options() -> SettingError:
    return SettingError(
        say(
            "--tasks-path needs --tasks, and standard tasks bring their own questions, so --data "
            "cannot be used with them."
        ),
        fix=say("Use --tasks or --data, not both: nuguna evaluate --help"),
    )


@app.command(help=t(say("Compare several runs side by side: settings that differ, scores, time and memory.")))
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN…", help=t(say("folders of finished runs")))],
    page: Annotated[
        str | None,
        typer.Option(
            "--page",
            metavar="FILE",
            help=t(say("where to write the page [comparison.html; none with --json]")),
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """`nuguna compare`."""
    lang, screen = open_screen(None, as_json)
    with errors(screen, as_json):
        from ..jobs.compare import compare_runs, write_comparison
        from ..ui.score_view import show_comparison

        found = compare_runs([Path(name) for name in runs])
        wish = Path(page).expanduser() if page else None
        if as_json:
            made = {} if wish is None else {"page": str(write_comparison(found, wish, screen.t, lang=lang))}
            print_json({**found.to_json(), **made})
        else:
            show_comparison(found, screen)
            screen.line(
                screen.t(
                    say("See it as a page: {file}", file=write_comparison(found, wish, screen.t, lang=lang))
                )
            )


@app.command(
    help=t(
        say("Score a file of predictions and references with BLEU, ROUGE and chrF, correct for Korean too.")
    )
)
def score(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help=t(say("a table with both columns, or a text file of predictions"))
        ),
    ],
    references: Annotated[
        str | None,
        typer.Argument(metavar="[REFERENCES]", help=t(say("a text file with one right answer per line"))),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="PREDICTION,REFERENCE", help=t(say("names of the two columns"))),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """`nuguna score`."""
    _, screen = open_screen(None, as_json)
    with errors(screen, as_json):
        from ..data.files.columns import split_columns
        from ..data.pairs import read_pairs
        from ..measure.compared import all_scored
        from ..measure.scores import compare, signatures
        from ..measure.words_of import find_tokenization
        from ..ui.score_view import show_scores

        wish = split_columns(columns) if columns else ()
        pairs = read_pairs(Path(file), Path(references) if references else None, wish)
        way = find_tokenization(pairs.references)
        found = all_scored(compare(pairs.predictions, pairs.references, way))
        if as_json:
            own = {
                "num_pairs": len(pairs.predictions),
                "tokenization": way.name,
                "signatures": signatures(way),
            }
            print_json({**own, **{name: one.to_json() for name, one in found.items()}})
        else:
            show_scores(found, way.name, len(pairs.predictions), screen)
