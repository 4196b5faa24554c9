"""What the loop brought, in the user's own prices.

:mod:`data.value.saved` says how many escapes and false alarms a version avoids, from the frames on which it was
judged; :mod:`data.value.sending` what sending every frame would have cost; :mod:`data.value.fixing` how long a defect
took to be mended; :mod:`data.value.prices` what these are worth; :mod:`data.value.account` puts them together from
the catalog.
"""

from data.value.account import Account, account_of
from data.value.prices import Prices, prices_of, state_prices

__all__ = ["Account", "Prices", "account_of", "prices_of", "state_prices"]
