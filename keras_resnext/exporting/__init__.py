"""Export of models to files for other runtimes, validated in each of them."""

from keras_resnext.exporting.exported_model import (
    ExportedModel as ExportedModel,
)
from keras_resnext.exporting.exported_model import (
    load_exported as load_exported,
)
from keras_resnext.exporting.exporter import export as export
from keras_resnext.exporting.report import ExportedFile as ExportedFile
from keras_resnext.exporting.report import ExportError as ExportError
from keras_resnext.exporting.report import ExportReport as ExportReport
