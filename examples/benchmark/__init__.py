"""Benchmarks of models against each other, each in its own process.

- `models`, `pipeline`: the scripts, of models and of training's images;
- `candidates`: who takes part, and in what;
- `setting`: what they share;
- `worker`: the process of a candidate, asked for one figure at a time;
- `steps`: what a candidate computes while the clock runs;
- `artifacts`: the files that some of them run;
- `results`: the tables;
- `chart`: the image.
"""
