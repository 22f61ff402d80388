"""What moves: Nesterov's look-ahead as Optax transformations."""

from nagviz.optim.lookahead import LookaheadState, from_iterate, iterate, nesterov_lookahead
from nagviz.optim.optimizers import nag

__all__ = ["LookaheadState", "from_iterate", "iterate", "nag", "nesterov_lookahead"]
