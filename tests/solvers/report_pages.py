"""Read report pages."""

import json
import re


def data_in(page: str) -> dict:
    """What the page gives to its scripts."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
