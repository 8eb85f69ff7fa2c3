import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.data.geometry import Geometry
from exitwave.data.verdict import Verdict
from exitwave.evaluation.evaluate import Evaluation
from exitwave.evaluation.metrics import METRICS
from exitwave.evaluation.resolution import RingCorrelation
from exitwave.io.results import read_result, write_result
from exitwave.reports.formatting import number
from exitwave.reports.page import render, report, solver_name


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def evaluation() -> Evaluation:
    frequency = np.linspace(0, 1, 40)
    curve = RingCorrelation(
        frequency=frequency, correlation=1 / (1 + (frequency / 0.5) ** 8), samples=np.arange(1, 41) * 6
    )
    ids = [
        *METRICS,
        "M-PSNR255-amplitude",
        "residual",
        "free-residual",
        "M-NRMSE-probe",
        "FRC-half-bit",
        "FRC-1/7-split",
    ]
    return Evaluation(
        metrics={name: 0.1234 + 0.0101 * index for index, name in enumerate(ids)},
        alignment={"removed": ["phase", "shift"], "phase_rad": 0.25, "shift_px": [1.5, -0.75], "twin": False},
        curves={"FRC": curve, "FRC-split": curve},
    )


def test_the_file_of_a_result_stands_for_it(make_result, tmp_path):
    write_result(tmp_path / "out.h5", make_result())
    report(tmp_path / "out.h5", tmp_path / "page.html")
    assert Page((tmp_path / "page.html").read_text("utf-8")).text == Page(render(read_result(tmp_path / "out.h5"))).text


def test_the_page_loads_nothing_from_outside(make_result):
    text = render(make_result(modes=2), evaluation())
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        for name, value in attributes.items():
            if name.split(":")[-1] in ("src", "href", "srcset", "poster", "data", "action"):
                assert value is not None
                assert value.startswith(("data:", "#"))
            assert not name.startswith("on")
    assert not re.search(r"@import|url\((?!#|\"?data:)", text)
    assert "default-src 'none'" in text
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)


def test_every_metric_is_named_valued_and_explained(make_result):
    judged = evaluation()
    text = render(make_result(), judged)
    rows = {}
    for row in re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td></tr>', text):
        rows[html.unescape(row[0])] = row[1:]
    assert set(rows) == set(judged.metrics)
    for name, (value, meaning) in rows.items():
        assert value == number(judged.metrics[name], 4)
        assert "is better" in meaning, name


def test_the_figures_that_matter_first_are_in_the_headline(make_result):
    judged = Evaluation(metrics={"FRC-half-bit-split": 0.5})
    result = replace(make_result(), free_residual=0.0077)
    headline = re.search(r'<dl class="headline">(.*?)</dl>', render(result, judged), re.DOTALL)
    assert headline is not None
    words = Page(headline[1]).text
    half_period_nm = 2 * result.object_pixel_m[1] * 1e9
    for expected in ("0.0042", "0.0077", f"{half_period_nm:.3g} nm", "36", "8 keV", "12.5 s"):
        assert expected in words


def test_resolution_has_one_card_whatever_it_was_measured_against(make_result):
    text = Page(render(make_result(), Evaluation(metrics={"FRC-half-bit-split": 0.5, "FRC-half-bit": 0.25}))).text
    pixel_nm = make_result().object_pixel_m[1] * 1e9
    card = rf"Resolution\s*{2 * pixel_nm:.3g} nm\s*half period, half-bit FRC between halves of the frames; "
    assert len(re.findall(r"Resolution\s*\d", text)) == 1
    assert re.search(rf"{card}{4 * pixel_nm:.3g} nm against the truth", text)


def test_the_date_of_the_run_is_told(make_result):
    stored = {"date": "2026-11-29T19:02:28+00:00"}
    assert "run on 29 November 2026, 19:02 UTC" in Page(render(replace(make_result(), provenance=stored))).text


def test_what_noise_would_leave_stands_beside_the_residual(make_result):
    verdict = Verdict(grade="sound", evidence={"noise-ratio": 1.4})
    assert "counting noise alone leaves 0.003" in Page(render(replace(make_result(), verdict=verdict))).text


def test_solver_and_provenance_are_folded(make_result):
    text = render(make_result())
    folded = "".join(re.findall(r"<details>(.*?)</details>", text, re.DOTALL))
    assert "alpha: 0.1" in folded
    assert "scan.file" in folded
    assert "scan.file" not in text.replace(folded, "").split("<details>")[0]


def test_every_picture_has_words_for_those_who_cannot_see_it(make_result):
    page = Page(render(make_result(modes=2, slices=2), evaluation()))
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(pictures) == 2 * 3 + 2 * 2 + 2 + 2
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)
    assert len({picture["aria-label"] for picture in pictures}) >= len(pictures) - 1


def test_ids_are_unique_and_references_lead_somewhere(make_result):
    text = render(make_result(modes=2), evaluation())
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    references = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert references
    assert references <= set(ids)


def test_names_from_files_cannot_inject_anything(make_result):
    evil = '"><script>alert(1)</script><img src=x onerror=y>{{ 7*7 }}'
    result = replace(
        make_result(),
        spec={"name": evil, "note": evil},
        provenance={"scan": {"file": f"{evil}.h5", evil: evil}, "ending": evil, "date": evil},
    )
    text = render(
        result, Evaluation(metrics={evil: 1.0}, alignment={evil: evil}, curves={evil: evaluation().curves["FRC"]})
    )
    tags = {tag for tag, _ in Page(text).tags}
    assert "script" not in tags
    assert "img" not in tags
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", text)[0]


ODD = {
    "many modes": {"modes": 14},
    "thick": {"slices": 3},
    "one frame": {"side": 1},
    "tiny": {"frame_px": 4, "side": 2, "step_px": 1.0},
    "flat pixels": {"squeeze": 4.0},
}


@pytest.mark.parametrize("options", ODD.values(), ids=ODD.keys())
def test_odd_shapes_make_a_page(make_result, options):
    text = render(make_result(**options))
    assert "nan" not in Page(text.lower()).text.split()


def test_sparse_results_make_a_page(make_result):
    full = make_result()
    bare = replace(full, history=(), residual=float("nan"), frame_residual=None, provenance={}, spec={})
    single = replace(full, history=(0.1,), frame_residual=torch.zeros(36))
    dark = replace(full, estimate=replace(full.estimate, probe=torch.zeros_like(full.estimate.probe)))
    text = [Page(render(result)).text for result in (bare, single, dark)]
    assert all("nan" not in page.lower().split() for page in text)
    assert "not recorded" in text[0]


def test_a_diverged_object_still_makes_a_page(make_result):
    result = make_result()
    broken = result.estimate.object.clone()
    broken[0, 20:30, 20:30] = float("nan")
    assert "Amplitude of the object" in render(replace(result, estimate=replace(result.estimate, object=broken)))
    nothing = torch.full_like(broken, float("nan"))
    assert "Amplitude of the object" in render(replace(result, estimate=replace(result.estimate, object=nothing)))


def test_electrons_and_near_fields_are_told(make_result):
    microscope = Geometry.from_voltage(300e3, 1.0, (50e-6, 50e-6))
    text = Page(render(replace(make_result(), geometry=microscope))).text
    assert "300 kV" in text
    assert "1.97 pm, far field" in text
    cone = Geometry.from_energy(17e3, 1.0, (5e-6, 5e-6), focus_distance_m=0.1)
    assert "photons, near field" in Page(render(replace(make_result(), geometry=cone))).text


def test_a_spread_is_mapped_and_put_in_proportion(make_result):
    result = make_result()
    deviation = torch.full_like(result.estimate.object, 0.02)
    text = render(replace(result, spread=replace(result.estimate, object=deviation)))
    share = re.search(r"its median is ([\d.]+) % of the median amplitude", text)
    assert share is not None
    assert float(share[1]) == pytest.approx(100 * 0.02 / 0.86, rel=0.1)
    assert "Uncertainty" not in render(result)


def test_what_deserves_a_second_look_is_said(make_result):
    frames = torch.full((36,), 0.002)
    frames[[3, 17]] = 0.05
    result = replace(
        make_result(),
        history=tuple(0.9**epoch for epoch in range(20)),
        free_residual=0.02,
        frame_residual=frames,
        provenance={"ending": "interrupted after epoch 20"},
    )
    text = Page(render(result)).text
    for words in ("interrupted after epoch 20", "more epochs would help", "fits noise", "2 of 36 frames", "3, 17"):
        assert words in text
    assert "Remarks" not in render(make_result())


def test_the_solver_is_named_with_its_stages():
    assert solver_name({"name": "rpie"}) == "rpie"
    chain = {"name": "chain", "stages": [{"name": "dm"}, {"name": "ensemble", "member": {"name": "rpie"}}]}
    assert solver_name(chain) == "chain of dm, ensemble of rpie"
    assert solver_name({"name": "refined", "solver": chain}) == "chain of dm, ensemble of rpie, refined"


def test_what_was_found_beside_object_and_probe_is_told(make_result):
    result = make_result(slices=2)
    x, frames = result.estimate, len(result.estimate.positions_px)
    found = replace(
        x,
        slice_spacing_m=torch.tensor([2.5e-5], dtype=torch.float64),
        variations=x.probe.flip(-1) * 0.5,
        weights=torch.full((frames, 1), 0.2 + 0j),
        brightness=torch.linspace(1, 3, frames).sqrt(),
        background=torch.full((32, 32), 0.25),
    )
    text = Page(render(replace(result, estimate=found))).text
    for words in ("25 µm", "1 wave, 1 % of its photons", "0.5 to 1.5 of its mean", "0.25 photons a pixel"):
        assert words in text
    assert "Beside object and probe" not in render(make_result())


def test_the_same_result_gives_the_same_page(make_result):
    result = make_result(modes=2)
    assert render(result, evaluation()) == render(result, evaluation())


def test_the_settings_of_the_users_matplotlib_do_not_matter_and_stay(make_result):
    plain = render(make_result())
    with matplotlib.rc_context(
        {"font.size": 30, "text.color": "pink", "image.origin": "lower", "savefig.bbox": "tight"}
    ):
        before = dict(matplotlib.rcParams)
        assert render(make_result()) == plain
        assert dict(matplotlib.rcParams) == before


def test_a_page_appears_whole_or_not_at_all(make_result, tmp_path):
    path = tmp_path / "page.html"
    report(make_result(), path)
    before = path.read_text(encoding="utf-8")
    assert before.endswith("</html>\n") or before.endswith("</html>")
    broken = Evaluation(metrics={}, curves={"FRC": None})  # pyright: ignore[reportArgumentType]
    with pytest.raises(AttributeError):
        report(make_result(), path, evaluation=broken)
    assert path.read_text(encoding="utf-8") == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="does not exist"):
        report(make_result(), tmp_path / "nowhere" / "page.html")


def test_a_usual_result_makes_a_page_of_at_most_two_megabytes(make_result):
    result = make_result(frame_px=128, side=20, step_px=24.0, modes=2)
    noise = torch.randn(result.estimate.object.shape, generator=torch.Generator().manual_seed(0))
    grainy = result.estimate.object * (1 + 0.02 * noise)
    assert min(grainy.shape[1:]) > 580
    text = render(replace(result, estimate=replace(result.estimate, object=grainy)), evaluation())
    assert len(text.encode()) < 2.2e6


def test_the_verdict_stands_before_everything_else_with_reasons_and_advice(make_result):
    verdict = Verdict(
        grade="failed", reasons=("noise <b>fits</b>",), advice=("check the energy",), evidence={"noise-ratio": 0.125}
    )
    text = render(replace(make_result(), verdict=verdict))
    page = Page(text)
    assert "Verdict: failed" in page.text
    assert page.text.index("Verdict") < page.text.index("Residual")
    assert "Noise <b>fits</b>." in page.text
    assert "Check the energy." in page.text
    assert "0.125" in page.text
    assert ("section", {"class": "verdict failed", "aria-label": "Verdict"}) in page.tags


def test_a_page_without_a_verdict_says_nothing_of_one(make_result):
    assert "Verdict" not in Page(render(make_result())).text
