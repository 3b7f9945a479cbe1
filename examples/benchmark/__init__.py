"""Benchmarks of models against each other, each in its own process.

- `models`, `pipeline`: the scripts, for models and for the training pipeline;
- `candidates`: the candidates and their tasks;
- `setting`: the settings that they share;
- `worker`: the process of a candidate, which measures one figure at a time;
- `steps`: the timed computations of a candidate;
- `artifacts`: the files that some candidates run;
- `results`: the tables;
- `chart`: the chart.
"""
