"""Trained networks as files for other runtimes, checked in each of them."""

from keras_resnext.exporting.exporter import export as export
from keras_resnext.exporting.report import ExportError as ExportError
from keras_resnext.exporting.report import Report as Report
from keras_resnext.exporting.report import Row as Row
