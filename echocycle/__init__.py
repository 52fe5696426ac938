"""echocycle: left-ventricular ejection fraction from echocardiogram video when few videos are labelled.

Research software, not a medical device.
"""

__version__ = "0.1.0"
