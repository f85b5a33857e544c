"""What jobs need, learnt from those that ran: what the next ones ask for, and what a recovery will cost.

Numbers are robust (median, p95), and each comes with its evidence in words. Where there is no history, nothing is said.
"""

from bookkeeper.estimates.asking import Ask, Asks, ask_for
from bookkeeper.estimates.forecast import Estimate, Forecast, forecast
from bookkeeper.estimates.limits import Limit, limit_of
from bookkeeper.estimates.sizing import amount

__all__ = ["Ask", "Asks", "Estimate", "Forecast", "Limit", "amount", "ask_for", "forecast", "limit_of"]
