"""Benchmarks of models against each other, each in its own process.

- `models`, `pipeline`, `scaling`: the scripts, for models, for the training
  pipeline, and for the growth of cost;
- `candidates`: the candidates and their tasks;
- `setting`: the settings that they share;
- `worker`: the process of a candidate, which measures one figure at a time;
- `bound`: processes that are bound to cores;
- `steps`: the timed computations of a candidate;
- `artifacts`: the files that some candidates run;
- `machine`: the machine and the versions that are measured;
- `results`, `chart`, `curves`: tables and charts;
- `pages`: the README's tables and this folder's page, from `measured/`.
"""
