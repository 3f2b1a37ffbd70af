"""Pictures of networks, of what flows through them, and of their training; matplotlib draws them.

Each display is made by one of its ``from_…`` methods, which compute and draw; ``plot(ax=…)`` draws again
elsewhere, and ``figure_`` and ``axes_`` are what was drawn on.
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
