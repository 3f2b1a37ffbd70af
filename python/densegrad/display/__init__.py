"""Pictures of networks, of the values that flow through them, and of their training, by matplotlib.

A ``from_…`` method makes a display: it computes and draws. ``plot(ax=…)`` draws again elsewhere. The picture
is in ``figure_`` and ``axes_``.
"""

from densegrad.display.activation_display import ActivationDisplay, LayerActivations
from densegrad.display.decision_boundary import DecisionBoundaryDisplay, DecisionBoundaryRecorder
from densegrad.display.diagnostics import Diagnostics
from densegrad.display.gradient_check_display import GradientCheckDisplay
from densegrad.display.gradient_flow import GradientFlowDisplay
from densegrad.display.learning_curve import LearningCurveDisplay
from densegrad.display.network_display import NetworkDisplay
from densegrad.display.network_html import network_html
from densegrad.display.walk import backpropagation_html, framed, walk_html
from densegrad.display.weights_display import WeightsDisplay

__all__ = [
    "ActivationDisplay",
    "DecisionBoundaryDisplay",
    "DecisionBoundaryRecorder",
    "Diagnostics",
    "GradientCheckDisplay",
    "GradientFlowDisplay",
    "LayerActivations",
    "LearningCurveDisplay",
    "NetworkDisplay",
    "WeightsDisplay",
    "backpropagation_html",
    "framed",
    "network_html",
    "walk_html",
]
