import hashlib
import json
import warnings

import keras
import numpy as np
import pytest
from PIL import Image

from keras_resnext.preprocessing import decode_predictions
from keras_resnext.preprocessing import preprocess_input

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), "uint8")


def expected(pixels):
    return (pixels.astype("float64") / 255 - MEAN) / STD


class TestPreprocessInput:
    @pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
    def test_array(self, pixels, dtype):
        x = pixels.astype(dtype)
        before = x.copy()
        y = preprocess_input(x, data_format="channels_last")
        assert isinstance(y, np.ndarray)
        assert y.dtype == "float32"
        np.testing.assert_allclose(y, expected(pixels), atol=1e-6)
        np.testing.assert_array_equal(x, before)

    @pytest.mark.parametrize("dtype", ["uint8", "float32", "bfloat16"])
    def test_tensor(self, pixels, dtype):
        x = keras.ops.convert_to_tensor(pixels, dtype=dtype)
        y = preprocess_input(x, data_format="channels_last")
        assert keras.ops.is_tensor(y)
        assert keras.backend.standardize_dtype(y.dtype) == "float32"
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(y), expected(pixels), atol=1e-6
        )
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(x), pixels)

    @pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
    def test_in_a_model(self, pixels, data_format):
        if data_format == "channels_first":
            pixels = pixels.transpose(0, 3, 1, 2)
        inputs = keras.Input(pixels.shape[1:], dtype="uint8")
        outputs = preprocess_input(inputs, data_format)
        assert outputs.dtype == "float32"
        y = keras.Model(inputs, outputs)(pixels)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(y),
            preprocess_input(pixels, data_format),
            atol=1e-6,
        )

    def test_one_image(self, pixels):
        y = preprocess_input(pixels, data_format="channels_last")
        one = preprocess_input(pixels[1], data_format="channels_last")
        np.testing.assert_array_equal(one, y[1])

    def test_pil_image_and_lists(self, pixels):
        y = preprocess_input(pixels[0], data_format="channels_last")
        for x in (Image.fromarray(pixels[0]), pixels[0].tolist()):
            np.testing.assert_array_equal(
                preprocess_input(x, data_format="channels_last"), y
            )

    def test_data_format(self, pixels):
        last = preprocess_input(pixels, data_format="channels_last")
        first = preprocess_input(
            pixels.transpose(0, 3, 1, 2), data_format="channels_first"
        )
        np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), last)

    def test_default_data_format_is_keras(self, pixels):
        keras.config.set_image_data_format("channels_first")
        y = preprocess_input(pixels.transpose(0, 3, 1, 2))
        keras.config.set_image_data_format("channels_last")
        np.testing.assert_array_equal(
            y.transpose(0, 2, 3, 1), preprocess_input(pixels)
        )

    @pytest.mark.parametrize(
        ("dtype", "tolerance"),
        [("float16", 1e-3), ("bfloat16", 4e-3), ("float64", 1e-12)],
    )
    def test_floatx(self, pixels, dtype, tolerance):
        keras.config.set_floatx(dtype)
        y = preprocess_input(pixels, data_format="channels_last")
        assert y.dtype.name == dtype
        # Only the last rounding may be in half precision.
        np.testing.assert_allclose(
            y.astype("float64"), expected(pixels), rtol=tolerance, atol=1e-6
        )

    def test_half_precision_tensor(self, pixels):
        keras.config.set_floatx("bfloat16")
        y = preprocess_input(keras.ops.convert_to_tensor(pixels))
        assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
        y = keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))
        np.testing.assert_allclose(y, expected(pixels), rtol=4e-3, atol=1e-6)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, pixels, bad):
        x = pixels.astype("float32")
        x[0, 0, 0, 0] = bad
        with pytest.raises(ValueError, match="1 NaN or infinite values of 210"):
            preprocess_input(x)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda x: x / 255.0, "been divided by 255"),
            (lambda x: x.astype("float16") / 255, "been divided by 255"),
            (lambda x: x / 127.5 - 1, "been normalized"),
            (lambda x: expected(x).astype("float32"), "been normalized"),
            (lambda x: x.astype("int16") - 128, "been normalized"),
        ],
    )
    def test_scaled_already(self, pixels, change, message):
        with pytest.warns(UserWarning, match=message) as record:
            preprocess_input(change(pixels), data_format="channels_last")
        assert len(record) == 1
        assert record[0].filename == __file__

    @pytest.mark.parametrize(
        "x",
        [
            np.zeros((4, 4, 3), "float32"),
            np.ones((4, 4, 3), "uint8"),
            np.full((4, 4, 3), 1.5, "float32"),
            np.zeros((0, 4, 4, 3), "float32"),
        ],
        ids=["black", "dark", "nearly black", "empty"],
    )
    def test_no_false_alarm(self, x):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            y = preprocess_input(x, data_format="channels_last")
        assert y.shape == x.shape

    @pytest.mark.parametrize("shape", [(3,), (4, 3), (1, 2, 4, 4, 3)])
    @pytest.mark.parametrize("convert", [np.asarray, keras.ops.array])
    def test_wrong_rank(self, shape, convert):
        with pytest.raises(ValueError, match="rank 3 or a batch") as info:
            preprocess_input(convert(np.zeros(shape, "float32")))
        assert str(shape) in str(info.value)

    @pytest.mark.parametrize("convert", [np.asarray, keras.ops.array])
    def test_wrong_channels(self, convert):
        x = convert(np.zeros((2, 8, 8, 4), "uint8"))
        with pytest.raises(ValueError, match=r"\(2, 8, 8, 4\)") as info:
            preprocess_input(x, data_format="channels_last")
        assert "data_format` correct" not in str(info.value)

    @pytest.mark.parametrize(
        ("shape", "data_format"),
        [((3, 8, 8), "channels_last"), ((2, 8, 8, 3), "channels_first")],
    )
    def test_wrong_data_format(self, shape, data_format):
        with pytest.raises(ValueError, match="data_format` correct"):
            preprocess_input(np.zeros(shape, "uint8"), data_format=data_format)

    def test_unknown_data_format(self, pixels):
        with pytest.raises(ValueError, match="'NHWC'"):
            preprocess_input(pixels, data_format="NHWC")

    def test_keras_applications_agrees(self, pixels):
        reference = keras.applications.imagenet_utils.preprocess_input(
            pixels.astype("float32"), data_format="channels_last", mode="torch"
        )
        np.testing.assert_allclose(
            preprocess_input(pixels, data_format="channels_last"),
            reference,
            atol=1e-6,
        )

    def test_gray_is_the_average_of_the_channels(self, pixels):
        gray = pixels[..., :1]
        last = preprocess_input(gray, data_format="channels_last")
        assert last.shape == gray.shape
        np.testing.assert_allclose(
            last, (gray / 255 - np.mean(MEAN)) / np.mean(STD), atol=1e-6
        )
        first = preprocess_input(gray.transpose(0, 3, 1, 2), "channels_first")
        np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), last)
        symbolic = preprocess_input(keras.Input(gray.shape[1:]))
        assert symbolic.shape == (None, *gray.shape[1:])

    @pytest.mark.parametrize(
        ("x", "error", "message"),
        [
            (np.zeros((4, 4), "uint8"), ValueError, r"x\[\.\.\., None\]"),
            (np.zeros((4, 4, 3), bool), TypeError, "dtype: bool"),
            (np.zeros((4, 4, 3), complex), TypeError, "dtype: complex"),
            (np.full((4, 4, 3), "1"), TypeError, "dtype: str"),
            (np.zeros((4, 4, 3), object), TypeError, "dtype: object"),
            ([np.zeros((4, 4, 3)), np.zeros((5, 4, 3))], TypeError, "list"),
            (Image.new("YCbCr", (4, 4)), ValueError, "mode: 'YCbCr'"),
        ],
        ids=["rank", "bool", "complex", "str", "object", "list", "PIL"],
    )
    def test_no_images(self, x, error, message):
        with pytest.raises(error, match=message):
            preprocess_input(x, data_format="channels_last")

    def test_layer_of_a_model(self, pixels):
        layer = keras.layers.Lambda(preprocess_input)
        model = keras.Sequential([keras.Input(pixels.shape[1:]), layer])
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(model(pixels)),
            expected(pixels),
            atol=1e-6,
        )


class TestPreprocessInputOfAnyFramework:
    """Tensors of a framework, whether or not it is Keras' backend."""

    def test_tf_data(self, pixels, monkeypatch):
        tf = pytest.importorskip("tensorflow")
        # AutoGraph logs what it can't transform.
        monkeypatch.setattr(
            tf.get_logger(), "warning", lambda *words: pytest.fail(str(words))
        )
        gray = pixels[0, ..., :1]
        for images, wanted in (
            (pixels, expected(pixels)),
            (gray, preprocess_input(gray, "channels_last")),
        ):
            data = tf.data.Dataset.from_tensors(images)
            (y,) = data.map(lambda x: preprocess_input(x, "channels_last"))
            assert isinstance(y, tf.Tensor)
            assert y.dtype == "float32"
            np.testing.assert_allclose(y, wanted, atol=1e-6)

    def test_tf_data_of_unknown_shape(self, pixels):
        tf = pytest.importorskip("tensorflow")

        def read(png):
            # `decode_image` does not know the rank of what it decodes.
            return preprocess_input(tf.io.decode_image(png), "channels_last")

        png = tf.io.encode_png(pixels[0]).numpy()
        (y,) = tf.data.Dataset.from_tensors(png).map(read)
        np.testing.assert_allclose(y, expected(pixels[0]), atol=1e-6)

    def test_tf_ragged(self, pixels):
        tf = pytest.importorskip("tensorflow")
        data = tf.data.Dataset.from_generator(
            lambda: (pixels[0, :size] for size in (3, 5)),
            output_signature=tf.TensorSpec((None, None, 3), "uint8"),
        )
        (ragged,) = data.ragged_batch(2)
        for image, size in zip(preprocess_input(ragged), (3, 5), strict=True):
            np.testing.assert_allclose(
                image.to_tensor(), expected(pixels[0, :size]), atol=1e-6
            )
        with pytest.raises(TypeError, match="dense"):
            preprocess_input(tf.sparse.from_dense(pixels))

    def test_tf_floatx(self, pixels):
        tf = pytest.importorskip("tensorflow")
        keras.config.set_floatx("bfloat16")
        y = preprocess_input(tf.constant(pixels), "channels_last")
        assert y.dtype == "bfloat16"
        with pytest.raises(TypeError, match="dtype: string"):
            preprocess_input(tf.fill((4, 4, 3), "pixel"), "channels_last")

    def test_jax(self, pixels):
        jax = pytest.importorskip("jax")

        def normalize(x):
            return preprocess_input(x, "channels_last")

        eager = normalize(jax.numpy.asarray(pixels))
        jitted = jax.jit(normalize)(pixels)
        mapped = jax.jit(jax.vmap(normalize))(pixels)
        for y in (eager, jitted, mapped):
            assert isinstance(y, jax.Array)
            assert y.dtype == "float32"
            np.testing.assert_allclose(y, expected(pixels), atol=1e-6)

    def test_torch(self, pixels):
        torch = pytest.importorskip("torch")

        def normalize(x):
            return preprocess_input(x, "channels_first")

        x = torch.from_numpy(pixels.transpose(0, 3, 1, 2))
        eager = normalize(x)
        compiled = torch.compile(normalize, backend="eager")(x)
        loader = torch.utils.data.DataLoader(
            [normalize(image) for image in x], batch_size=2
        )
        for y in (eager, compiled, next(iter(loader))):
            assert isinstance(y, torch.Tensor)
            assert y.dtype == torch.float32
            np.testing.assert_allclose(
                y.permute(0, 2, 3, 1), expected(pixels), atol=1e-6
            )
        with pytest.raises(ValueError, match="data_format` correct"):
            preprocess_input(x, "channels_last")


class TestDecodePredictions:
    def test_names_are_those_of_keras(self):
        every = decode_predictions(np.arange(1000.0)[None, ::-1], top=1000)[0]
        index = {
            str(i): [wnid, name] for i, (wnid, name, _) in enumerate(every)
        }
        # The md5 with which Keras checks its imagenet_class_index.json.
        assert hashlib.md5(json.dumps(index).encode()).hexdigest() == (
            "c2c37ea517e94d9795004a39431a14cb"
        )

    @pytest.mark.parametrize("convert", [np.asarray, keras.ops.array])
    def test_top(self, convert):
        preds = np.zeros((2, 1000), "float32")
        preds[0, [3, 999, 0]] = 0.5, 0.3, 0.2
        preds[1, 207] = 1.0
        first, second = decode_predictions(convert(preds), top=3)
        assert first == [
            ("n01491361", "tiger_shark", np.float32(0.5)),
            ("n15075141", "toilet_tissue", np.float32(0.3)),
            ("n01440764", "tench", np.float32(0.2)),
        ]
        assert second[0] == ("n02099601", "golden_retriever", 1.0)
        assert len(second) == 3

    def test_five_by_default_of_logits(self):
        preds = -np.arange(1000, dtype="float32")[None]
        names = [name for _, name, _ in decode_predictions(preds)[0]]
        assert len(names) == 5
        assert names[:2] == ["tench", "goldfish"]

    def test_bfloat16_tensor(self):
        preds = keras.ops.cast(keras.ops.eye(2, 1000), "bfloat16")
        names = [row[0][1] for row in decode_predictions(preds, top=1)]
        assert names == ["tench", "goldfish"]

    @pytest.mark.parametrize("shape", [(2, 10), (2, 1001), (1, 7, 7, 2048)])
    def test_other_classes(self, shape):
        with pytest.raises(ValueError, match="1,000 classes of") as info:
            decode_predictions(np.zeros(shape, "float32"))
        assert str(shape) in str(info.value)

    def test_one_prediction(self):
        with pytest.raises(ValueError, match=r"preds\[None\]"):
            decode_predictions(np.zeros(1000, "float32"))

    @pytest.mark.parametrize("top", [0, -1, 1001])
    def test_wrong_top(self, top):
        with pytest.raises(ValueError, match=f"Received: {top}"):
            decode_predictions(np.zeros((1, 1000)), top=top)
