"""The words of a report, explained: what a cardiologist may not know of statistics, and a programmer not of hearts."""

from echocycle.reporting.blocks import Facts, Section

GLOSSARY = {
    "EF": "Ejection fraction: the share of the blood in the left ventricle that one beat ejects, (EDV − ESV) / EDV, in "
    "percent. An error of 5 points means 55 % instead of 60 %.",
    "ED, ES": "End diastole and end systole: the frames where the left ventricle is largest and smallest.",
    "EDV, ESV": "The volume of the left ventricle at ED and at ES.",
    "Average error, MAE": "Mean absolute error: how far the predicted EF is from the true one, on average over videos, "
    "whether above or below.",
    "RMSE": "Root of the mean squared error: like MAE, but large errors count more.",
    "R²": "How much of the spread of the true EF the prediction explains: 100 % is perfect, 0 % is no better than "
    "always answering the mean of these videos, and it can be below 0.",
    "Bias, limits of agreement": "The mean of predicted minus true EF, and the range in which 95 % of these "
    "differences are expected (Bland and Altman).",
    "Interval": "Where the number would lie with other patients of the same kind: of 100 such studies, 95 have an "
    "interval that holds the true value. A wide one means that there were few patients.",
    "Baseline: always the mean EF": "The error of answering the mean EF of the training videos, whoever the patient "
    "is. A model that is not clearly better is of no use.",
    "Sensitivity, specificity": "Of the videos whose EF is under the limit, the share that the model finds; of the "
    "others, the share that it rightly lets pass.",
    "AUC": "How well the predicted EF orders patients: the share of pairs, one with a low EF and one without, in which "
    "the first has the lower predicted EF. 50 % is chance.",
    "Dice": "Overlap of two outlines: 100 % where they are the same, 0 % where they do not meet.",
    "Discs": "Simpson’s rule: EF from the outline alone, by cutting the ventricle into 20 discs.",
    "Labelled, unlabelled": "Videos whose EF (or outline) the training was told, and videos that it saw without.",
    "Training, validation, test videos": "Those that the model learned from; those that chose the best moment of the "
    "training; those that it never saw before.",
    "Teacher, student": "The teacher sees the video and the outline of the left ventricle; the student learns to do "
    "without the outline.",
}


def glossary_section() -> Section:
    """The words used, explained."""
    return Section("Words used here", [Facts(list(GLOSSARY.items()))])
