# SPDX-License-Identifier: MIT
"""The interactive page shows the library's numbers, whatever one moves and however; and its text is true of its data.

The browser's tests want selenium and Debian's packages chromium and chromium-driver, and are skipped without them. They
open the page's own markup, style and script as a file, without the rest of the site.
"""

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from measure import interactive as measure_interactive

from minidistill import CrossEntropy, SoftTarget
from minidistill.ops import softmax_forward

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "guides" / "interactive.md").read_text()


MEASURED = measure_interactive.from_script((DOCS / "_static" / "interactive_logits.js").read_text())
IMAGES = {image["y"]: image for image in MEASURED["images"]}
STUDENTS = ("untrained", "alone", "distilled")
T_SLIDER = np.arange(-1, 4.376, 0.125)             # doublings of T, as on the page


def row(numbers):
    return np.array([numbers])                      # (1,10)


def soft(logits, T):
    return softmax_forward(row(logits), T)[0][0]    # (10,)


def distillation(digit, student, T, alpha=1.0):
    """Value and ds (10,) of the page's loss for its image of a digit, by the library."""
    image = IMAGES[digit]
    value, ds = SoftTarget(T, alpha)(row(image["s"][student]), row(image["t"]), np.array([digit]))
    return value, ds[0]


# ---------------------------------------------------------------------------------------------- the data and the text


def test_the_data_are_what_the_script_measures():
    found = measure_interactive.from_script(measure_interactive.as_script(measure_interactive.measure()))
    assert found["settings"] == MEASURED["settings"]
    for now, then in zip(found["images"], MEASURED["images"], strict=True):
        assert (now["row"], now["y"], now["ink"]) == (then["row"], then["y"], then["ink"])
        np.testing.assert_allclose(now["t"], then["t"], atol=1e-3)
        for student in STUDENTS:
            np.testing.assert_allclose(now["s"][student], then["s"][student], atol=1e-3)


def test_some_images_are_clear_to_the_teacher_and_some_are_doubtful():
    sure = {digit: soft(image["t"], 1.0).max() for digit, image in IMAGES.items()}
    assert len(sure) == len(MEASURED["images"]) == 8
    assert sum(p > 0.99 for p in sure.values()) == 4
    assert sum(p < 0.6 for p in sure.values()) == 3


def test_the_networks_are_those_that_the_text_describes():
    settings = MEASURED["settings"]
    sizes = {name: "-".join(map(str, settings[name])) for name in ("teacher", "student")}
    text = " ".join(PAGE.split())
    assert f"a teacher {sizes['teacher']} that" in text
    assert f"a student {sizes['student']} that saw none, or {settings['images_seen']} of them" in text


def test_a_temperature_shows_what_else_the_4_looks_like():
    t = IMAGES[4]["t"]
    p = soft(t, 1.0)
    assert p.argmax() == 4 and np.delete(p, 4).max() < 0.05
    p = soft(t, 4.0)
    assert list(np.argsort(-p)[:3]) == [4, 7, 9] and p[7] > 0.25 and p[3] < 0.001
    spreads = [np.ptp(soft(t, 2.0**doublings)) for doublings in T_SLIDER]
    assert np.all(np.diff(spreads) < 0)


def test_label_and_teacher_disagree_about_logit_5_of_the_9_and_agree_about_its_9():
    assert np.argmax(IMAGES[9]["t"]) == 5
    ds = np.array([distillation(9, "untrained", 4.0, alpha)[1] for alpha in np.linspace(0, 1, 21)])   # (21,10)
    assert ds[0, 5] > 0 > ds[-1, 5]
    assert np.all(ds[:, 9] < 0)


def test_KL_falls_with_T_while_its_product_with_T_squared_and_the_gradient_keep_their_size():
    end = 2.0 ** T_SLIDER[-1]
    (low, ds_low), (high, ds_high) = distillation(3, "alone", 8.0), distillation(3, "alone", end)
    assert high / end**2 < low / 8**2 / 6
    assert 0.9 < high / low < 1
    assert 0.9 < np.linalg.norm(ds_high) / np.linalg.norm(ds_low) < 1


def follow(s, t, y, T, alpha, steps):
    """The logits after gradient steps of rate 1 on themselves."""
    for _ in range(steps):
        s = s - SoftTarget(T, alpha)(row(s), row(t), np.array([y]))[1][0]
    return s


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("digit", IMAGES)
def test_forty_steps_bring_q_to_p_and_labels_alone_raise_their_logit_on_and_on(digit, student):
    s, t = np.array(IMAGES[digit]["s"][student]), IMAGES[digit]["t"]
    q = soft(follow(s, t, digit, 4.0, 1.0, 40), 4.0)
    assert np.abs(q - soft(t, 4.0)).max() < 0.02
    label = [follow(s, t, digit, 4.0, 0.0, steps)[digit] for steps in (0, 20, 40)]
    assert label[0] < label[1] < label[2]


def test_the_page_is_found_by_its_names_of_files():
    for name in re.findall(r'(?:href|src)="\.\./(_static/[^"]+)"', PAGE):
        assert (DOCS / name).is_file()
    for name in re.findall(r"`(minidistill/\S+|docs/\S+|tools/\S+)`", PAGE):
        assert (DOCS.parent / name).is_file()


# ---------------------------------------------------------------------------------------------- in a browser

TEMPERATURES = (-1, -0.5, 0, 1.25, 2, 3, 4.375)    # doublings: 0.5 to 20.7
ALPHAS = (0, 0.05, 0.5, 0.9, 1)

COLLECT = """
const collect = () => Object.fromEntries([...document.querySelectorAll("[data-value]")]
    .map((place) => [place.dataset.name, Number(place.dataset.value)]));
"""
MOVE = COLLECT + """
const move = (id, value) => {
    const slider = document.getElementById(id);
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
};
return arguments[0].map(([T, alpha]) => {
    move("soft-target-T", T);
    move("soft-target-alpha", alpha);
    return collect();
});
"""


CHOOSE_EACH = COLLECT + """
const found = [];
for (const image of document.querySelectorAll("[name=image]")) {
    for (const student of document.querySelectorAll("[name=student]")) {
        image.click();
        student.click();
        found.push([collect(), document.querySelector(".soft-target").textContent]);
    }
}
return found;
"""

browser = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A headless Chromium, and the page's raw HTML as a file with its script and style."""
    webdriver = pytest.importorskip("selenium.webdriver")
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    if None in programs:
        pytest.skip("no chromium and chromedriver on PATH")
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(DOCS / "_static", folder / "_static")
    markup = re.search(r"```\{raw\} html\n(.*?)```", PAGE, re.DOTALL).group(1)
    head = '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    (folder / "guides").mkdir()
    (folder / "guides" / "page.html").write_text(f"{head}<title>page</title><body>\n{markup}</body></html>\n")

    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1000,1600"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    driver.address = (folder / "guides" / "page.html").as_uri()
    yield driver
    driver.quit()


@pytest.fixture
def page(chromium):
    """The page as it opens, for people who like less motion; after the test its console must be empty."""
    from selenium.webdriver.support.ui import WebDriverWait

    prefer(chromium, "light")
    chromium.get(chromium.address)
    WebDriverWait(chromium, 10).until(lambda _: "T" in numbers(chromium))  # its script has drawn
    yield chromium
    assert chromium.get_log("browser") == []


def prefer(chromium, scheme, motion="reduce"):
    features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
    media = [{"name": name, "value": value} for name, value in features.items()]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})


def find(page, selector):
    return page.find_element("css selector", selector)


def choose(page, digit, student):
    """Clicks an image and a student, as a mouse does: on their labels."""
    i = list(IMAGES).index(digit)
    page.execute_script(f"document.querySelector('[name=image][value=\"{i}\"]').parentElement.click()")
    page.execute_script(f"document.querySelector('[name=student][value={student}]').parentElement.click()")


def numbers(page):
    return page.execute_script(COLLECT + "return collect();")


def of(found, name):
    """A row of the page's numbers (10,)."""
    return np.array([found[f"{name}[{c}]"] for c in range(10)])


def keys(page, selector, key, times=1):
    from selenium.webdriver.common.keys import Keys

    find(page, selector).send_keys(*[getattr(Keys, key)] * times)


@browser
@pytest.mark.parametrize("student", STUDENTS)
def test_every_number_is_that_of_the_library(page, student):
    settings = [(doublings, alpha) for doublings in TEMPERATURES for alpha in ALPHAS]
    for digit in IMAGES:
        choose(page, digit, student)
        for (doublings, alpha), found in zip(settings, page.execute_script(MOVE, settings), strict=True):
            check_numbers(found, digit, student, 2.0**doublings, alpha)


def check_numbers(found, digit, student, T, alpha):
    """That what the page shows of an image is what the library says of it."""
    s, t = IMAGES[digit]["s"][student], IMAGES[digit]["t"]
    L, ds = distillation(digit, student, T, alpha)
    kl, ds_teacher = distillation(digit, student, T)
    ce, ds_label = CrossEntropy()(row(s), None, np.array([digit]))
    expected = {"T": T, "alpha": alpha, "1-alpha": 1 - alpha, "alpha T^2": alpha * T**2, "ce": ce, "kl": kl / T**2}
    expected |= {"L_label": (1 - alpha) * ce, "L_teacher": alpha * kl, "L": L}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6, abs=1e-9)
    rows = {"s": s, "t": t, "onehot": np.eye(10)[digit], "p": soft(t, T), "q": soft(s, T)}
    rows |= {"ds_label": (1 - alpha) * ds_label[0], "ds_teacher": alpha * ds_teacher, "ds": ds}   # [KD-5]
    for name, right in rows.items():
        np.testing.assert_allclose(of(found, name), right, rtol=1e-6, atol=1e-9, err_msg=name)


@browser
def test_what_one_reads_is_the_number_rounded(page):
    choose(page, 9, "alone")
    places = page.execute_script(
        "return [...document.querySelectorAll('[data-value]')]"
        ".map((place) => [place.dataset.name, place.textContent, Number(place.dataset.value)])"
    )
    assert len(places) == 12 + 80
    for name, text, value in places:
        decimals = len(text.partition(".")[2])
        assert float(text.replace("\N{MINUS SIGN}", "-")) == pytest.approx(value, abs=0.501 * 10**-decimals), name


@browser
@pytest.mark.parametrize("doublings", [-1, 0, 2, 4.375])
def test_bars_are_as_high_as_their_numbers(page, doublings):
    choose(page, 9, "untrained")
    found = page.execute_script(MOVE, [(doublings, 0.5)])[0]
    boxes = page.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('.plot')].flatMap((plot) => {"
        "  const { bottom, height } = plot.getBoundingClientRect();"
        "  return plot.dataset.bars.split(' ').map((name) => [name, [...plot.querySelectorAll(`.bar.${name}`)]"
        "    .map((bar) => bar.getBoundingClientRect())"
        "    .map((bar) => [(bottom - bar.bottom) / height, (bottom - bar.top) / height])]);"
        "}))"
    )
    limit = found["limit"]
    for name in ("p", "q", "onehot", "ds_label", "ds_teacher"):
        ends = np.array(boxes[name])                                             # (10,2)  shares of the plot's height
        if name.startswith("ds"):
            ends = limit * (2 * ends - 1)
        value = of(found, name)
        np.testing.assert_allclose(ends, np.sort([0 * value, value], axis=0).T, atol=0.02 * limit, err_msg=name)
    assert max(np.abs(of(found, name)).max() for name in ("ds", "ds_label", "ds_teacher")) <= limit


@browser
@pytest.mark.parametrize("key_T", ["HOME", "END"])
@pytest.mark.parametrize("key_alpha", ["HOME", "END"])
def test_all_stays_finite_at_the_ends_of_the_sliders(page, key_T, key_alpha):
    keys(page, "#soft-target-T", key_T)
    keys(page, "#soft-target-alpha", key_alpha)
    assert numbers(page)["T"] == {"HOME": 0.5, "END": 2**4.375}[key_T]
    assert numbers(page)["alpha"] == {"HOME": 0, "END": 1}[key_alpha]
    everything = page.execute_script(CHOOSE_EACH)
    assert len(everything) == 8 * 3
    for found, text in everything:
        assert all(math.isfinite(x) for x in found.values())
        assert not re.search("NaN|Infinity|undefined", text)


@browser
def test_arrow_keys_move_the_sliders_and_the_numbers_follow(page):
    before = numbers(page)
    assert (before["T"], before["alpha"]) == (4, 0.5)
    keys(page, "#soft-target-T", "ARROW_RIGHT", 8)
    warmer = numbers(page)
    assert warmer["T"] == 8 and of(warmer, "p").max() < of(before, "p").max()
    assert find(page, "#soft-target-T").get_attribute("aria-valuetext") == "8"
    keys(page, "#soft-target-alpha", "ARROW_LEFT")
    assert numbers(page)["alpha"] == pytest.approx(0.45)
    assert numbers(page)["L_label"] > warmer["L_label"]


@browser
def test_arrow_keys_choose_image_and_student(page):
    keys(page, "[name=image]:checked", "ARROW_RIGHT")
    np.testing.assert_allclose(of(numbers(page), "t"), IMAGES[4]["t"])
    keys(page, "[name=student]:checked", "ARROW_RIGHT")
    np.testing.assert_allclose(of(numbers(page), "s"), IMAGES[4]["s"]["distilled"])
    assert find(page, ".digit").accessible_name == f"Test image {IMAGES[4]['row']}, a handwritten 4"


@browser
def test_steps_follow_the_gradient_and_can_be_taken_back(page):
    choose(page, 9, "alone")
    keys(page, "button[value='20']", "ENTER")
    keys(page, "button[value='1']", "SPACE")
    s, t = np.array(IMAGES[9]["s"]["alone"]), IMAGES[9]["t"]
    found = numbers(page)
    assert found["steps"] == 21
    np.testing.assert_allclose(of(found, "s"), follow(s, t, 9, 4.0, 0.5, 21), rtol=1e-6)
    keys(page, "button[value='0']", "ENTER")
    assert numbers(page)["steps"] == 0
    np.testing.assert_allclose(of(numbers(page), "s"), s)


@browser
def test_every_input_and_picture_has_an_accessible_name(page):
    page.execute_script("document.querySelector('details').open = true")
    named = page.find_elements("css selector", "input, button, fieldset, section, .soft-target [role]:not(.summary)")
    assert len(named) == 8 + 3 + 2 + 3 + 2 + 1 + 4
    assert all(element.accessible_name.strip() for element in named)
    assert find(page, "#soft-target-T").accessible_name == "Temperature T"
    assert find(page, "[name=image]:checked").accessible_name == "a handwritten 3"


@browser
def test_the_summary_says_in_words_what_the_numbers_are_once_they_rest(page):
    from selenium.webdriver.support.ui import WebDriverWait

    summary = find(page, ".summary")
    assert summary.aria_role == "status"                                         # announced when it changes
    WebDriverWait(page, 5).until(lambda _: "At T = 4 the teacher gives 34% to 3 and 31% to 9" in summary.text)
    first = summary.text
    page.execute_script(MOVE, [(2, 0.9), (2, 1)])
    WebDriverWait(page, 5).until(lambda _: summary.text != first)
    L, ds = distillation(3, "alone", 4.0)
    assert f"With alpha = 1.00 the loss is {L:.2f}: 0.00 from the label, {L:.2f} from the teacher." in summary.text
    assert f"raises logit {ds.argmin()} most and lowers logit {ds.argmax()} most" in summary.text


@browser
def test_the_summary_speaks_once_after_a_slider_has_moved_many_times(page):
    page.set_script_timeout(10)
    spoken = page.execute_async_script("""
        const done = arguments[arguments.length - 1];
        const summary = document.querySelector(".summary"), slider = document.getElementById("soft-target-T");
        const spoken = [];
        new MutationObserver(() => {
            spoken.push(summary.textContent);
            if (slider.value === "4") done(spoken);
        }).observe(summary, { childList: true });
        const move = () => {
            slider.value = Number(slider.value) + 0.5;
            slider.dispatchEvent(new Event("input"));
            if (slider.value !== "4") setTimeout(move, 20);
        };
        move();
    """)
    assert len(spoken) == 1 and "At T = 16 " in spoken[0]


@browser
def test_without_scripts_a_sentence_says_what_is_missing_and_where_it_is(page):
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.get(page.address)
        text = find(page, "body").text
    finally:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "need JavaScript" in text and "Notebook 6" in text
    assert "Temperature T" not in text


@browser
def test_it_fits_a_phone(page):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page.execute_script("document.querySelector('details').open = true")
        width = page.execute_script("return document.documentElement.scrollWidth")
        ends = page.execute_script(
            "return [...document.querySelectorAll('.soft-target *:not(.scroller *)')]"
            ".map((element) => element.getBoundingClientRect().right)"
        )
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width == 390
    assert max(ends) <= 390


@browser
@pytest.mark.parametrize(("motion", "moves"), [("reduce", "0s"), ("no-preference", "0.15s, 0.15s")])
def test_bars_glide_only_for_those_who_like_motion(page, motion, moves):
    prefer(page, "light", motion)
    bar = find(page, ".bar.p")
    assert bar.value_of_css_property("transition-duration") == moves


@browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_bars_stand_out_from_the_paper_in_light_and_dark(page, theme, scheme):
    """By 3 to 1, which WCAG 2.2 asks of graphics (1.4.11); `data-theme` is furo's and goes before the system's."""
    prefer(page, scheme)
    page.execute_script("document.body.dataset.theme = arguments[0]", theme)
    dark = "dark" in (theme, scheme if theme == "auto" else theme)
    paper = luminance("rgb(19, 20, 22)" if dark else "rgb(255, 255, 255)")       # furo's
    for selector in (".bar.p", ".bar.q", ".tick.label"):
        colour = luminance(find(page, selector).value_of_css_property("background-color"))
        lighter, darker = max(paper, colour), min(paper, colour)
        assert (lighter + 0.05) / (darker + 0.05) > 3, selector


def luminance(colour):
    """The relative luminance of "rgb(0, 114, 178)" (WCAG 2.2)."""
    rgb = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
