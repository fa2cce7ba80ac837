"""Makes rolling.csv: rolling statistics of a series with gaps, by pandas (3.1.1, numpy 2.4.6).

python3 -m venv env && env/bin/pip install pandas && env/bin/python make_rolling.py > rolling.csv
"""

import numpy
import pandas

random = numpy.random.default_rng(7)
value = 5 + numpy.cumsum(random.normal(size=200)) + 1e3 * (numpy.arange(200) % 50 == 13)
value[random.random(200) < 0.15] = numpy.nan
value[90:97] = numpy.nan
value[120:140] = 3.25
series = pandas.Series(value)
table = pandas.DataFrame({"value": series})
for rows in (1, 2, 5, 12, 30):
    window = series.rolling(rows, min_periods=-(-rows // 2))
    # Computed window by window: pandas' own rolling mean and std carry rounding errors along.
    table[f"mean_{rows}"] = window.apply(numpy.nanmean, raw=True)
    table[f"std_{rows}"] = window.apply(numpy.nanstd, raw=True)
    table[f"min_{rows}"] = window.min()
    table[f"max_{rows}"] = window.max()
    table[f"q90_{rows}"] = window.apply(lambda w: numpy.nanquantile(w, 0.9), raw=True)
    table[f"q50_{rows}"] = window.apply(lambda w: numpy.nanquantile(w, 0.5), raw=True)
    assert numpy.allclose(table[f"mean_{rows}"], window.mean(), equal_nan=True)
    assert numpy.allclose(table[f"std_{rows}"], window.std(ddof=0), atol=1e-4, equal_nan=True)
    assert numpy.allclose(
        table[f"q90_{rows}"], window.quantile(0.9, interpolation="linear"), equal_nan=True
    )
table["difference_3"] = series.diff(3)
print(table.to_csv(index=False, float_format="%.17g"), end="")
