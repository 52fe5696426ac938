"""End of the flow: the measurements as a DICOM Structured Report, for a picture archive and for reading software.

Made by highdicom after template TID 1500, with the codes of echocardiography (CID 12300) and units of UCUM: EF by discs
LOINC 79993-2, its volumes 79999-9 and 80004-5, EF by the network 18043-0. Every beat's outlines at end diastole and end
systole refer to frames of the recording. It copies patient and study (`source_dicom.py`).
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from echocycle import __version__
from echocycle.files import replacing
from echocycle.prediction import DISCLAIMER, Prediction
from echocycle.writers.outlines import main_outline, to_stored
from echocycle.writers.source_dicom import (
    ALGORITHM,
    MANUFACTURER,
    MODEL_NAME,
    lacks_dicom,
    read_header,
    stored_numbers,
    without_quoted_values,
)

OURS = "99ECHOCYCLE"
"""Scheme of codes that no other one has."""


def lacks_report(prediction: Prediction) -> str | None:
    """Why there is no report to write."""
    if prediction.ef is None and prediction.ef_by_discs is None:
        return "No DICOM Structured Report is written: no EF was measured."
    return lacks_dicom(prediction, "A DICOM Structured Report")


def write_report(prediction: Prediction, folder: Path) -> Path:
    """Write `<stem>.sr.dcm`. It holds the patient's identity."""
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    path = Path(folder) / f"{prediction.stem}.sr.dcm"
    with without_quoted_values():
        header = read_header(prediction)
        device = hd.sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
                uid=generate_uid(entropy_srcs=[MODEL_NAME, __version__]),
                name=MODEL_NAME,
                manufacturer_name=MANUFACTURER,
                model_name=f"{MODEL_NAME} {__version__}",
            ),
        )
        content = hd.sr.MeasurementReport(
            observation_context=hd.sr.ObservationContext(observer_device_context=device),
            procedure_reported=codes.SCT.Echocardiography,
            imaging_measurements=[_whole(prediction), *_outlined(prediction, header)],
            title=codes.DCM.ImagingMeasurementReport,
            referenced_images=[header],
        )
        made = hd.sr.ComprehensiveSR(
            evidence=[header],
            content=content[0],
            series_instance_uid=generate_uid(),
            series_number=9702,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=True,
            series_description=f"Ejection fraction. {DISCLAIMER}",
        )
        with replacing(path) as temporary:
            made.save_as(temporary, enforce_file_format=True)
    return path


def _whole(prediction: Prediction) -> Any:
    """What is told of the recording as a whole: both EF with their codes, none of them a summary of both."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    found = []

    def add(name: Any, value: float | None, unit: Any, method: Any = None, median: bool = False) -> None:
        if value is not None and math.isfinite(value):
            derivation = codes.SCT.Median if median else None
            found.append(hd.sr.Measurement(name, round(value, 2), unit, method=method, derivation=derivation))

    percent = codes.UCUM.Percent
    if prediction.ef_clips:
        network = hd.sr.CodedConcept("EF-REGRESSION", OURS, "Regression by a network on video")
        add(codes.LN.LeftVentricularEjectionFractionByUS, prediction.ef, percent, network)
    add(codes.LN.LeftVentricularEjectionFractionSinglePlane4CMOD, prediction.ef_by_discs, percent, median=True)
    if prediction.volume_unit == "ml":
        add(codes.LN.LeftVentricularEndDiastolicVolumeSinglePlane4CMOD, prediction.edv, _ml(), median=True)
        add(codes.LN.LeftVentricularEndSystolicVolumeSinglePlane4CMOD, prediction.esv, _ml(), median=True)
    add(codes.LN.HeartRate, prediction.heart_rate, hd.sr.CodedConcept("{H.B.}/min", "UCUM", "Heart beats per minute"))
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking("whole recording"),
        algorithm_id=_algorithm(prediction),
        finding_sites=[hd.sr.FindingSite(codes.SCT.LeftVentricle)],
        measurements=found,
    )
    # highdicom has no argument for them; the template leaves room for more (TID 1501 is extensible)
    group[0].ContentSequence.extend(
        hd.sr.TextContentItem(codes.DCM.Comment, text, hd.sr.RelationshipTypeValues.CONTAINS)
        for text in _comments(prediction)
    )
    return group


def _comments(prediction: Prediction) -> list[str]:
    """What a reader must see beside the numbers: doubts first."""
    doubts = [f"Flagged ({flag.severity}): {flag.sentence}" for flag in prediction.flags if flag.severity != "note"]
    return list(dict.fromkeys(filter(None, [*doubts, prediction.headline_reason, *prediction.warnings, DISCLAIMER])))


def _outlined(prediction: Prediction, header: Any) -> list[Any]:
    """The outlines of every beat at end diastole and end systole, with their volumes."""
    from pydicom.sr.codedict import codes

    found = []
    for number, beat in enumerate(prediction.beats, 1):
        for name, frame, volume, phase, code in (
            ("end diastole", beat.ed, beat.edv, codes.SCT.EndDiastole,
             codes.LN.LeftVentricularEndDiastolicVolumeSinglePlane4CMOD),
            ("end systole", beat.es, beat.esv, codes.SCT.EndSystole,
             codes.LN.LeftVentricularEndSystolicVolumeSinglePlane4CMOD),
        ):  # fmt: skip
            outline = None if prediction.masks is None else main_outline(prediction.masks[frame])
            if outline is not None:
                points = to_stored(outline, prediction.affine) + 0.5  # DICOM's (0, 0) is the corner of the first pixel
                found.append(
                    _beat_outline(prediction, header, f"beat {number}, {name}", frame, points, phase, (code, volume))
                )
    return found


def _beat_outline(
    prediction: Prediction,
    header: Any,
    name: str,
    frame: int,
    points: np.ndarray,
    phase: Any,
    volume: tuple[Any, float],
) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    source = hd.sr.SourceImageForRegion(
        header.SOPClassUID, header.SOPInstanceUID, referenced_frame_numbers=[stored_numbers(prediction)[frame]]
    )
    inside = np.clip(points, 0, [int(header.Columns), int(header.Rows)])
    region = hd.sr.ImageRegion(hd.sr.GraphicTypeValues.POLYLINE, inside.astype(np.float32), source)
    measured = []
    if prediction.volume_unit == "ml":
        measured.append(hd.sr.Measurement(volume[0], round(volume[1], 2), _ml()))
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(name),
        referenced_region=region,
        finding_type=codes.SCT.LeftVentricle,
        algorithm_id=_algorithm(prediction),
        measurements=measured,
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(codes.SCT.CardiacCyclePhase, hd.sr.CodedConcept.from_code(phase))
        ],
    )


def _tracking(name: str) -> Any:
    import highdicom as hd

    return hd.sr.TrackingIdentifier(identifier=name)


def _algorithm(prediction: Prediction) -> Any:
    import highdicom as hd

    return hd.sr.AlgorithmIdentification(ALGORITHM, __version__, parameters=[f"model {prediction.model.get('id', '')}"])


def _ml() -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept("mL", "UCUM", "milliliter")
