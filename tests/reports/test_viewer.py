"""The interactive page: whole in itself, every image in it to 16 bits, and nothing that names could break."""

import base64
import gzip
import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

import exitwave as ew
from command import done
from exitwave.reports.viewer import LEVELS, render_view
from exitwave.reports.views import object_views


def held_in(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="held">(.*?)</script>', text, re.DOTALL)[1])


def unpacked(layer: dict) -> np.ndarray:
    """As the page unpacks it."""
    steps = np.frombuffer(gzip.decompress(base64.b64decode(layer["packed"])), "<u2").astype(float)
    low, high = layer["range"]
    values = np.where(steps == 0, np.nan, low + (steps - 1) / (LEVELS - 1) * (high - low))
    return values.reshape(layer["height"], layer["width"])


def test_the_page_holds_every_slice_and_mode_to_sixteen_bits(make_result):
    result = make_result(modes=2, slices=2)
    layers = held_in(render_view(result))["layers"]
    assert [layer["name"] for layer in layers] == [
        *(f"slice {n} of 2: {what}" for n in (1, 2) for what in ("amplitude", "phase")),
        *(f"probe mode {n}: {what}" for n in (1, 2) for what in ("amplitude", "phase")),
    ]
    for number, (_, view) in enumerate(object_views(result)):
        for layer, expected in zip(layers[2 * number :], (view.amplitude, view.phase), strict=False):
            span = layer["range"][1] - layer["range"][0]
            np.testing.assert_allclose(unpacked(layer), expected, atol=span / LEVELS)
    np.testing.assert_allclose(layers[0]["pixel_m"], result.object_pixel_m)


def test_the_page_loads_nothing_and_names_cannot_break_it(make_result):
    wicked = {"scan": {"file": "</script><script>alert(1)</script>.cxi"}}
    result = make_result()
    text = render_view(replace(result, provenance=wicked))
    assert "default-src 'none'" in text
    assert not re.search(r"<(link|iframe)|https?://", text)
    assert "<script>alert" not in text
    assert text == render_view(replace(result, provenance=wicked)), "the same result gives the same page"


@pytest.mark.skipif(shutil.which("node") is None, reason="checks the script with node, which is not here")
def test_the_script_of_the_page_is_javascript(make_result, tmp_path):
    (script,) = re.findall(r"<script>\n(.*?)</script>", render_view(make_result()), re.DOTALL)
    (tmp_path / "page.js").write_text(script, encoding="utf-8")
    subprocess.run(["node", "--check", str(tmp_path / "page.js")], check=True)


def test_the_command_writes_the_page_beside_the_result_and_opens_it_only_on_a_screen(
    make_result, tmp_path, monkeypatch
):
    opened = list[str]()
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    ew.write(make_result(), tmp_path / "out.h5")
    assert "out_view.html" in done("view", tmp_path / "out.h5").out
    assert not opened
    monkeypatch.setenv("DISPLAY", ":0")
    done("view", tmp_path / "out.h5", "-o", tmp_path / "page.html")
    assert opened == [(tmp_path / "page.html").as_uri()]
    done("view", tmp_path / "out.h5", "--no-browser")
    assert len(opened) == 1
    assert (tmp_path / "page.html").read_bytes() == (tmp_path / "out_view.html").read_bytes()
