"""`svs methods`: list the separation methods."""

from __future__ import annotations

from svs.cli.options import Tuned, Weights
from svs.cli.request import weights_as_parameters


def methods(common: Tuned, weights: Weights = None) -> None:
    """Every separation method, and whether it can run here."""
    from svs import separators
    from svs.services import doctor

    here = common.open(weights_as_parameters(weights))
    states = {name: doctor.method(name, here) for name in separators.methods()}
    column = max(map(len, states))
    for name, method in separators.methods().items():
        uses = doctor.defaults(name, here)
        word = f" (the default of {' and '.join(uses)})" if uses else ""
        print(f"{name:<{column}}  {'ready  ' if states[name].ok else 'missing'}  {method.about}{word}")
        if states[name].advice:
            print(f"{'':<{column}}           {states[name].advice}")
