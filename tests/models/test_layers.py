import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from aaa_jax.models.layers import Layers

LAYOUT = ("NHWC", "HWIO", "NHWC")


class Convolution(Layers):
    stride: int

    @nn.compact
    def __call__(self, x):
        return self.convolve("conv", x, 5, 3, self.stride)


def plain(x, kernel, stride):
    pads = ((1, 1), (1, 1))
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), pads, dimension_numbers=LAYOUT
    )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (4, 4), (5, 2), (8, 8)])
def test_few_pixels_are_convolved_as_many_are(size, stride):
    x = jax.random.normal(jax.random.key(0), (2, *size, 4))
    layer = Convolution(stride=stride)
    variables = layer.init(jax.random.key(1), x)
    kernel = variables["params"]["conv"]["kernel"]
    expected, its_vjp = jax.vjp(lambda x, k: plain(x, k, stride), x, kernel)

    def convolve(x, kernel):
        return layer.apply({"params": {"conv": {"kernel": kernel}}}, x)

    found, vjp = jax.vjp(convolve, x, kernel)
    assert found.shape == expected.shape
    cotangent = jax.random.normal(jax.random.key(2), expected.shape)
    pairs = [(found, expected), *zip(vjp(cotangent), its_vjp(cotangent), strict=True)]
    for one, other in pairs:
        assert jnp.allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_no_convolution_of_few_pixels_is_turned_around_by_xla(stride):
    # Turned around, it has the batch where features are (f01b), and no fast form.
    layer = Convolution(stride=stride)
    x = jnp.ones((2, 2 * stride, 2 * stride, 4))
    variables = layer.init(jax.random.key(1), x)
    gradient = jax.grad(lambda v, x: layer.apply(v, x).sum(), argnums=1)
    compiled = jax.jit(gradient).lower(variables, x).compile().as_text()
    assert "convolution(" in compiled
    assert "_o01i->f01b" not in compiled
