"""echocycle: left-ventricular ejection fraction from echocardiogram video when few videos are labelled.

Research software, not a medical device.
"""

from echocycle.threads import wait_passively

__version__ = "0.1.0"

wait_passively()  # before PyTorch is loaded, which reads it then
