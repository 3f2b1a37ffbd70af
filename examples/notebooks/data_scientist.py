# %% [markdown]
# # A table, from the data frame to a saved model
#
# Mixed columns with gaps, a fair comparison, imbalance, and a model in a file.

# %%
import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from densegrad import MLPClassifier, TabularClassifier
from densegrad.display import LearningCurveDisplay

# %% [markdown]
# ## The table
#
# Customers of a shop, made up here so that the notebook needs no download: numbers, a category and a date, with gaps.

# %%
rng = np.random.default_rng(0)
n = 1500
table = pd.DataFrame(
    {
        "age": rng.integers(18, 80, n).astype(float),
        "income": rng.lognormal(10, 0.6, n),
        "visits": rng.poisson(4, n),
        "city": rng.choice(["Aachen", "Bonn", "Celle", "Dresden"], n),
        "joined": pd.Timestamp("2020-01-01")
        + pd.to_timedelta(rng.integers(0, 2000, n), "D"),
    }
)
score = (
    np.sin(table["age"] / 12)
    + 0.4 * table["visits"] * (table["city"] == "Bonn")
    + np.log(table["income"])
    - 11
)
label = np.where(score + rng.normal(0, 0.5, n) > 0.3, "buys", "leaves")
table.loc[rng.random(n) < 0.05, "age"] = np.nan
X_train, X_test, y_train, y_test = train_test_split(table, label, random_state=0)
table.head()

# %% [markdown]
# ## One line
#
# `TabularClassifier` takes the frame as it is: it fills gaps, encodes categories and dates, scales, and stops by itself.

# %%
tabular = TabularClassifier(n_members=2, random_state=0).fit(X_train, y_train)
print(
    f"AUC {roc_auc_score(y_test == tabular.classes_[1], tabular.predict_proba(X_test)[:, 1]):.3f}"
)

# %% [markdown]
# ## The steps by hand
#
# `MLPClassifier` is scikit-learn's, faster. It needs numbers of a similar size, so a pipeline prepares the columns.
# Switch `early_stopping` on: otherwise the network learns the training rows by heart.

# %%
numbers = make_pipeline(
    SimpleImputer(strategy="median", add_indicator=True), StandardScaler()
)
columns = make_column_transformer(
    (numbers, make_column_selector(dtype_include="number")),
    (OneHotEncoder(handle_unknown="ignore"), ["city"]),
)
model = make_pipeline(
    columns, MLPClassifier((64, 64), early_stopping=True, max_iter=300, random_state=0)
)
model.fit(X_train, y_train)
LearningCurveDisplay.from_estimator(model[-1])
print(f"{model[-1].n_iter_} epochs")

# %% [markdown]
# ## A comparison on the same rows

# %%
trees = make_pipeline(columns, HistGradientBoostingClassifier(random_state=0)).fit(
    X_train, y_train
)
positive = model.classes_[1]
for name, candidate in (("network", model), ("boosted trees", trees)):
    probability = candidate.predict_proba(X_test)[:, 1]
    auc = roc_auc_score(y_test == positive, probability)
    print(
        f"{name:>14}: AUC {auc:.3f}, log loss {log_loss(y_test == positive, probability):.3f}"
    )

# %% [markdown]
# ## Rare classes
#
# Most customers are of one class. `class_weight` moves the boundary towards the other one.

# %%
print(pd.Series(y_train).value_counts(normalize=True).round(2).to_dict())
for class_weight in (None, "balanced"):
    weighted = make_pipeline(
        columns,
        MLPClassifier(
            (64, 64),
            early_stopping=True,
            max_iter=300,
            class_weight=class_weight,
            random_state=0,
        ),
    ).fit(X_train, y_train)
    print(
        class_weight, f"{balanced_accuracy_score(y_test, weighted.predict(X_test)):.3f}"
    )

# %% [markdown]
# ## Save it
#
# The file holds the network, its labels and the state of the training. Loading runs no code from it.

# %%
import tempfile
from pathlib import Path

path = Path(tempfile.mkdtemp()) / "customers.safetensors"
model[-1].save(path)
loaded = MLPClassifier.load(path)
prepared = model[:-1].transform(X_test)
assert np.array_equal(loaded.predict_proba(prepared), model[-1].predict_proba(prepared))
print(f"{path.stat().st_size:,} bytes")
