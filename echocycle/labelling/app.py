"""The interface of the page: requests in, answers of the desk out. What is wrong is one sentence in `detail`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from echocycle.errors import EchocycleError, is_refusal, refusal
from echocycle.files import printable
from echocycle.labelling.desk import Desk, Order, UnknownVideoError
from echocycle.labelling.exports import export
from echocycle.labelling.frames import MOST_IN_STRIP
from echocycle.labelling.proposals import Proposals
from echocycle.labelling.ranking import Ranking
from echocycle.labelling.review import NoResultError, Reviews
from echocycle.labelling.security import Guard
from echocycle.labelling.trainings import Trainings

PAGE = Path(__file__).parent / "page"
KEPT = {"Cache-Control": "private, max-age=86400, immutable"}
"""For what belongs to a content's hash, and so never changes."""
NEVER = {"Cache-Control": "no-store"}

Json = Annotated[dict[str, Any], Body()]


@dataclass(frozen=True)
class Parts:
    """What answers requests."""

    desk: Desk
    proposals: Proposals
    ranking: Ranking
    trainings: Trainings
    reviews: Reviews


def make_app(parts: Parts) -> FastAPI:
    """The application without its guard."""
    app = FastAPI(title="echocycle label", docs_url=None, redoc_url=None, openapi_url=None)
    _errors(app)
    _project(app, parts.desk, parts.reviews)
    _videos(app, parts.desk, parts.proposals)
    _trainings(app, parts.trainings)
    _suggestions_and_results(app, parts)
    _page(app)
    return app


def guarded(app: FastAPI, token: str, port: int) -> Guard:
    """The application as it is served."""
    return Guard(app, token, port)


# ---------------------------------------------------------------------------------------------------- errors


def _errors(app: FastAPI) -> None:
    def said(status: int, sentence: str) -> JSONResponse:
        return JSONResponse({"detail": printable(sentence)}, status, headers=NEVER)

    @app.exception_handler(UnknownVideoError)
    def _unknown(_: Request, error: UnknownVideoError) -> JSONResponse:
        return said(404, str(error))

    @app.exception_handler(EchocycleError)
    def _wrong(_: Request, error: EchocycleError) -> JSONResponse:
        return said(getattr(error, "status", 422), str(error))

    @app.exception_handler(HTTPException)
    def _http(_: Request, error: HTTPException) -> JSONResponse:
        return said(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first.get("loc", ()))
        return said(422, f"{where}: {first.get('msg', 'is wrong')}.")

    @app.exception_handler(OSError)
    def _refused(_: Request, error: OSError) -> JSONResponse:
        return said(507, str(refusal(error)))

    @app.exception_handler(Exception)
    def _fault(_: Request, error: Exception) -> JSONResponse:
        if is_refusal(error):
            return said(507, str(refusal(error)))
        return said(500, f"The server made a mistake ({type(error).__name__}); its terminal says more.")


# --------------------------------------------------------------------------------------------------- project


def _project(app: FastAPI, desk: Desk, reviews: Reviews) -> None:
    @app.get("/api/project")
    def project() -> JSONResponse:
        return answer(desk.about())

    @app.get("/api/events")
    def events(after: Annotated[int, Query(ge=0)] = 0) -> JSONResponse:
        return answer(desk.events(after))

    @app.post("/api/actions")
    def actions(body: Json) -> JSONResponse:
        if body.get("action") in ("accept", "reject") and not reviews.has(str(body.get("run")), str(body.get("stem"))):
            raise NoResultError("There is no such prediction in this project.")
        return answer(desk.act(body))

    @app.post("/api/measure")
    def measure(body: Json) -> JSONResponse:
        return answer(desk.measure(str(body.get("id")), body.get("ed"), body.get("es")))

    @app.get("/api/compare/{video}")
    def compare(video: str) -> JSONResponse:
        return answer(desk.compare(video))


def _videos(app: FastAPI, desk: Desk, proposals: Proposals) -> None:
    @app.get("/api/videos")
    def videos(
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        state: str = "",
        search: Annotated[str, Query(max_length=200)] = "",
        order: Order = "suggest",
    ) -> JSONResponse:
        return answer(desk.list_videos(offset, limit, state, search, order))

    @app.get("/api/videos/{video}")
    def details(video: str) -> JSONResponse:
        about = desk.details(video)
        said = proposals.details(video)
        about["notes"] += [note for note in said.pop("model_notes") if note not in about["notes"]]
        return answer({**about, **said})

    @app.get("/api/videos/{video}/contours/{first}-{last}")
    def contours(video: str, first: int, last: int) -> JSONResponse:
        desk.video(video)
        if not 0 <= last - first < MOST_IN_STRIP:
            raise EchocycleError(f"At most {MOST_IN_STRIP} frames can be had at once.")
        return answer({"contours": [each and each.as_json() for each in proposals.contours(video, first, last)]})

    @app.post("/api/videos/{video}/propose")
    def propose(video: str, body: Json) -> JSONResponse:
        desk.video(video)
        frame = body.get("frame")
        if not isinstance(frame, int) or isinstance(frame, bool):
            raise EchocycleError("frame is the number of a frame, from 0.")
        return answer(proposals.propose(video, frame).as_json())

    @app.get("/api/videos/{video}/thumbnail.png")
    def thumbnail(video: str) -> Response:
        desk.video(video)
        return picture(lambda: desk.frames.thumbnail(video))

    @app.get("/api/videos/{video}/frames/{number}.png")
    def frame(video: str, number: int) -> Response:
        desk.video(video)
        return picture(lambda: desk.frames.strip(video, number, number))

    @app.get("/api/videos/{video}/strip/{first}-{last}.png")
    def strip(video: str, first: int, last: int) -> Response:
        desk.video(video)
        return picture(lambda: desk.frames.strip(video, first, last))


def _trainings(app: FastAPI, trainings: Trainings) -> None:
    @app.post("/api/train")
    def train(body: Json) -> JSONResponse:
        return answer(trainings.train(body.get("method"), body.get("preset")))

    @app.get("/api/runs")
    def runs() -> JSONResponse:
        return answer(trainings.all())

    @app.post("/api/runs/{run}/stop")
    def stop(run: str) -> JSONResponse:
        return answer(trainings.stop(run))

    @app.post("/api/runs/{run}/resume")
    def resume(run: str) -> JSONResponse:
        return answer(trainings.resume(run))

    @app.post("/api/runs/{run}/use")
    def use(run: str) -> JSONResponse:
        return answer(trainings.use(run))


def _suggestions_and_results(app: FastAPI, parts: Parts) -> None:
    @app.get("/api/suggest")
    def suggest(count: Annotated[int, Query(ge=1, le=1000)] = 10) -> JSONResponse:
        return answer(parts.ranking.now(count))

    @app.get("/api/results")
    def results() -> JSONResponse:
        return answer(parts.reviews.all())

    @app.get("/api/results/{result}")
    def rows(
        result: str, offset: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=500)] = 100
    ) -> JSONResponse:
        return answer(parts.reviews.rows(result, offset, limit))

    @app.get("/api/results/{result}/{stem:path}")
    def prediction(result: str, stem: str) -> JSONResponse:
        return answer(parts.reviews.details(result, stem))

    @app.get("/api/export")
    def exported() -> Response:
        named = {"Content-Disposition": 'attachment; filename="labels.zip"', **NEVER}
        return Response(export(parts.desk), media_type="application/zip", headers=named)


def answer(content: Any) -> JSONResponse:
    """JSON that no browser keeps."""
    return JSONResponse(content, headers=NEVER)


def picture(make: Callable[[], bytes]) -> Response:
    """A PNG that a browser may keep."""
    return Response(make(), media_type="image/png", headers=KEPT)


# ------------------------------------------------------------------------------------------------------ page


def _page(app: FastAPI) -> None:
    @app.get("/")
    def index() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(status_code=204)

    app.mount("/static", StaticFiles(directory=PAGE, check_dir=False), name="static")
