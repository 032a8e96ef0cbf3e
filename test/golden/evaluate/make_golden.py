"""Reference values for src/evaluate: python make_golden.py <path to the trec_eval binary> > golden.json

Ranking: trec_eval 10.0-rc3 (github.com/usnistgov/trec_eval f425365, the program behind pytrec_eval), built with make.
Everything else: scikit-learn 1.9.1, scipy 1.17.1, numpy 2.4.6.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn import cluster, linear_model, metrics, neighbors

random = np.random.default_rng(4)
NAMES = {"ndcg_cut_10": "ndcg@10", "recip_rank": "mrr", "map": "map", "recall_1": "recall@1", "recall_5": "recall@5",
         "recall_10": "recall@10", "recall_100": "recall@100"}


def ranking():
    cases = []
    for i in range(12):
        docs = [f"d{n}" for n in range(int(random.integers(3, 150)))]
        scores = {d: float(np.round(random.normal(), 1 if i % 2 else 6)) for d in docs}  # odd cases: many ties
        judged = {d: int(random.integers(0, 4)) for d in random.choice(docs, size=min(len(docs), 12), replace=False)}
        if i == 2:
            judged = {d: 0 for d in judged}  # nothing is relevant
        if i == 3:
            scores = {d: 1.0 for d in docs}  # nothing but ties
        if i in (4, 5):
            judged |= {"missing-1": 2, "missing-2": 1}  # relevant, but never retrieved
        if i == 6:
            judged |= {docs[0]: -1, docs[1]: -2}
        if i == 7:
            judged = {docs[-1]: 1}
        cases.append({"scores": scores, "judged": judged, "expected": {}})
    with tempfile.TemporaryDirectory() as folder:
        qrels, run = Path(folder, "qrels"), Path(folder, "run")
        qrels.write_text("".join(f"q{i} 0 {d} {g}\n" for i, c in enumerate(cases) for d, g in c["judged"].items()))
        run.write_text("".join(f"q{i} Q0 {d} 0 {s} x\n" for i, c in enumerate(cases) for d, s in c["scores"].items()))
        measures = ["-m", "ndcg_cut.10", "-m", "recall.1,5,10,100", "-m", "recip_rank", "-m", "map"]
        out = subprocess.run([sys.argv[1], "-q", *measures, qrels, run], check=True, capture_output=True, text=True).stdout
    for name, query, value in (line.split() for line in out.splitlines()):
        if query != "all":
            cases[int(query[1:])]["expected"][NAMES[name]] = float(value)
    for i in (0, 8, 10):  # without ties and unjudged gains scikit-learn must agree (trec_eval prints 4 digits)
        docs = list(cases[i]["scores"])
        truth = [[max(0, cases[i]["judged"].get(d, 0)) for d in docs]]
        ours = metrics.ndcg_score(truth, [[cases[i]["scores"][d] for d in docs]], k=10)
        assert abs(ours - cases[i]["expected"]["ndcg@10"]) < 1e-4
        cases[i]["ndcg@10, all digits"] = float(ours)
    return cases


def correlation():
    x = np.round(random.normal(size=40), 1)
    series = [(x, np.round(x + random.normal(size=40), 1)), (random.normal(size=30), random.integers(0, 6, size=30)),
              (np.arange(10.0), np.arange(10.0) ** 3), (x, -x)]
    return [{"a": a.tolist(), "b": b.tolist(), "pearson": float(stats.pearsonr(a, b)[0]),
             "spearman": float(stats.spearmanr(a, b)[0]), "ranks": stats.rankdata(b).tolist()} for a, b in series]


def labels():
    cases = []
    for n, kinds, guesses in [(60, 5, 5), (40, 3, 4), (30, 2, 2), (10, 1, 3), (10, 3, 1), (6, 6, 6)]:
        truth, guess = random.integers(0, kinds, n), random.integers(0, guesses, n)
        cases.append({
            "truth": [f"l{v}" for v in truth], "guess": [f"l{v}" for v in guess],
            "accuracy": float(metrics.accuracy_score(truth, guess)),
            "macroF1": float(metrics.f1_score(truth, guess, average="macro", zero_division=0)),
            **dict(zip(("homogeneity", "completeness", "vMeasure"),
                       map(float, metrics.homogeneity_completeness_v_measure(truth, guess)))),
        })
    return cases


def blobs(kinds, n, width, spread):
    centres = random.normal(size=(kinds, width))
    labels = random.integers(0, kinds, n)
    x = centres[labels] + spread * random.normal(size=(n, width))
    x = np.round(x / np.linalg.norm(x, axis=1, keepdims=True), 4).astype(np.float32)
    return x, labels


def classification():
    cases = []
    for kinds, c in [(2, 1.0), (4, 1.0), (3, 30.0)]:
        x, y = blobs(kinds, 90, 6, 0.8)
        model = linear_model.LogisticRegression(C=c, tol=1e-12, max_iter=20000).fit(x[:50].astype(float), y[:50])
        nearest = neighbors.KNeighborsClassifier(5, algorithm="brute", metric="cosine").fit(x[:50], y[:50])
        cases.append({
            "vectors": np.round(x.astype(float), 4).tolist(), "labels": [f"l{v}" for v in y], "train": 50, "c": c,
            "coefficients": model.coef_.tolist(), "intercepts": model.intercept_.tolist(),
            "predicted": [f"l{v}" for v in model.predict(x[50:].astype(float))],
            "nearest": [f"l{v}" for v in nearest.predict(x[50:])],
        })
    return cases


def clustering():
    cases = []
    for kinds, spread in [(4, 0.15), (6, 0.6)]:
        x, y = blobs(kinds, 80, 5, spread)
        found = cluster.KMeans(kinds, n_init=50, random_state=0, tol=0).fit(x.astype(float))
        cases.append({"vectors": np.round(x.astype(float), 4).tolist(), "labels": [f"l{v}" for v in y], "k": kinds,
                      "separated": spread < 0.3, "inertia": float(found.inertia_),
                      "vMeasure": float(metrics.v_measure_score(y, found.labels_))})
    return cases


print(json.dumps({"ranking": ranking(), "correlation": correlation(), "labels": labels(),
                  "classification": classification(), "clustering": clustering()}, separators=(",", ":")))
