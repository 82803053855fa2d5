"""The `sample` data set: cartoon cats and owls drawn from a seed, for work without a network.

The two classes share colours, backgrounds, props and light, so that only shape tells them apart:
ears or tufts, nose and whiskers or beak, tail and paws or wings and claws. Pose varies widely
(rotation, mirror image, scale, place), which is what augmentation can teach a network and a few
hundred pictures cannot.

The owl and the pussy-cat went to sea in a beautiful pea-green boat: some of them still sit in it.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

# Edges are smooth because everything is drawn this many times larger and then averaged.
SUPERSAMPLING = 3
JPEG_QUALITY = 92

COATS: tuple[Colour, ...] = (
    (222, 140, 62),
    (240, 222, 190),
    (132, 92, 62),
    (118, 122, 132),
    (62, 60, 70),
    (236, 236, 232),
    (176, 120, 92),
    (98, 112, 140),
    (204, 176, 120),
    (150, 110, 140),
)
EYES: tuple[Colour, ...] = ((246, 196, 52), (126, 190, 88), (104, 178, 216), (238, 140, 50))
ACCENTS: tuple[Colour, ...] = ((236, 130, 120), (244, 170, 60), (90, 80, 84), (228, 150, 160))
SCENERY: tuple[Colour, ...] = (
    (142, 190, 224),
    (40, 52, 96),
    (176, 208, 150),
    (246, 216, 160),
    (232, 176, 176),
    (84, 128, 110),
    (196, 182, 214),
    (120, 112, 104),
    (238, 236, 224),
    (210, 130, 80),
)
PEA_GREEN: Colour = (150, 178, 66)
WHITE: Colour = (250, 248, 240)


@dataclass(frozen=True)
class Pen:
    """Draws in an animal's own coordinates: about 2 units wide and high, y down, (0, 0) its middle.

    `matrix` (2×2) and `origin` (2) carry a point to the canvas's pixels; `width` is the outline's
    in pixels.
    """

    draw: ImageDraw.ImageDraw
    matrix: np.ndarray
    origin: np.ndarray
    width: int
    ink: Colour

    def pixels(self, points: Sequence[Point] | np.ndarray) -> list[Point]:
        """Carry points [n, 2] to the canvas's pixels."""
        placed = np.asarray(points, np.float64) @ self.matrix.T + self.origin
        return [(float(x), float(y)) for x, y in placed]

    def shape(self, points: Sequence[Point] | np.ndarray, fill: Colour) -> None:
        """Fill a polygon and draw its outline."""
        corners = self.pixels(points)
        self.draw.polygon(corners, fill=fill)
        if self.width > 0:
            self.draw.line([*corners, corners[0], corners[1]], self.ink, self.width, joint="curve")

    def ellipse(self, centre: Point, radii: Point, fill: Colour, tilt: float = 0.0) -> None:
        """Draw an ellipse; `tilt` turns it, in radians, clockwise."""
        self.shape(arc(centre, radii, 0, 2 * math.pi, tilt=tilt)[:-1], fill)

    def stroke(
        self,
        points: Sequence[Point] | np.ndarray,
        colour: Colour,
        width: float,
    ) -> None:
        """Draw a line; `width` in the animal's units."""
        scale = math.sqrt(abs(float(np.linalg.det(self.matrix))))
        pixels = max(1, round(width * scale))
        self.draw.line(self.pixels(points), colour, pixels, joint="curve")

    def turned(self, angle: float, pivot: Point) -> "Pen":
        """Copy the pen, turned by `angle` radians about `pivot`, and all it draws with it."""
        turn = rotation(angle)
        moved = self.matrix @ (pivot - turn @ pivot)
        return replace(self, matrix=self.matrix @ turn, origin=self.origin + moved)


@dataclass(frozen=True)
class Looks:
    """What one animal has, whatever its kind; colours are RGB, angles in radians.

    `flourish` (0–1) is how far a cat's tail curls and an owl's wings are lifted.
    """

    coat: Colour
    shade: Colour
    belly: Colour
    iris: Colour
    accent: Colour
    round_eyes: float
    ears: float
    stoutness: float
    gaze: Point
    tilt: float
    flourish: float
    asleep: bool
    marked: bool


def pictures(per_class: int, size: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield (`CLASS/NNNN.jpg`, JPEG bytes) sorted by path: `per_class` of each class, size × size.

    The bytes depend on the arguments alone, and the i-th picture of a class not on `per_class`.
    Numbers have four digits, or as many as the last one needs.
    """
    digits = max(4, len(str(per_class)))
    for label in CLASSES:
        for number in range(1, per_class + 1):
            rng = np.random.default_rng([seed, CLASSES.index(label), number])
            content = io.BytesIO()
            picture(label, size, rng).save(content, "JPEG", quality=JPEG_QUALITY)
            yield f"{label}/{number:0{digits}d}.jpg", content.getvalue()


def picture(label: str, size: int, rng: np.random.Generator) -> Image.Image:
    """One RGB picture, size × size, of a cat or an owl: `label` is one of `CLASSES`."""
    large = size * SUPERSAMPLING
    canvas = background(large, rng)
    draw = ImageDraw.Draw(canvas)
    clutter(draw, large, rng)
    pen = pose(draw, large, rng)
    looks = appearance(rng)
    ANIMALS[label](pen, looks)
    props(pen, rng)
    occlusion(draw, pen, large, rng)
    return lighting(canvas.reduce(SUPERSAMPLING), rng)


def pose(draw: ImageDraw.ImageDraw, large: int, rng: np.random.Generator) -> Pen:
    """Put a pen on the canvas: turned, mirrored, squeezed and scaled at random."""
    turn = rotation(math.radians(rng.uniform(-45, 45)))
    mirror = np.diag([rng.choice([-1.0, 1.0]), 1.0])
    squeeze = np.diag([rng.uniform(0.85, 1.15), 1.0])
    scale = large * rng.uniform(0.32, 0.46)
    return Pen(
        draw=draw,
        matrix=scale * turn @ squeeze @ mirror,
        origin=large * rng.uniform(0.42, 0.58, 2),
        width=round(large * rng.choice([0.0, 0.006, 0.01, 0.014])),
        ink=mix((40, 34, 40), pick(SCENERY, rng), rng.uniform(0, 0.35)),
    )


def appearance(rng: np.random.Generator) -> Looks:
    """Draw at random what an animal has; either kind draws the same."""
    coat = jitter(pick(COATS, rng), rng)
    return Looks(
        coat=coat,
        shade=mix(coat, (30, 26, 40), rng.uniform(0.15, 0.4)),
        belly=mix(coat, WHITE, rng.uniform(0.2, 0.8)),
        iris=jitter(pick(EYES, rng), rng),
        accent=jitter(pick(ACCENTS, rng), rng),
        round_eyes=rng.uniform(0.8, 1.25),
        ears=rng.uniform(0.7, 1.3),
        stoutness=rng.uniform(0.85, 1.2),
        gaze=(rng.uniform(-0.35, 0.35), rng.uniform(-0.3, 0.3)),
        tilt=math.radians(rng.uniform(-18, 18)),
        flourish=rng.uniform(0, 1),
        asleep=bool(rng.random() < 0.15),
        marked=bool(rng.random() < 0.5),
    )


def cat(pen: Pen, looks: Looks) -> None:
    """Draw a cat."""
    stout = looks.stoutness
    t = np.linspace(0, 1, 14)
    curl = 0.3 + 0.6 * looks.flourish
    tail = np.stack(
        [0.35 * stout + 0.55 * t + 0.12 * np.sin(5 * t), 0.75 - curl * t**2 + 0.1 * np.sin(4 * t)],
        axis=1,
    )
    pen.stroke(tail, pen.ink if pen.width else looks.shade, 0.17)
    pen.stroke(tail, looks.coat, 0.13)
    pen.ellipse((0, 0.42), (0.46 * stout, 0.52), looks.coat)
    pen.ellipse((0, 0.5), (0.26 * stout, 0.36), looks.belly)
    for side in (-1, 1):
        pen.ellipse(
            (side * 0.2 * stout, 0.9), (0.15, 0.09), looks.belly if looks.marked else looks.coat
        )

    head = pen.turned(looks.tilt, (0, -0.1))
    for side in (-1, 1):
        tip = (side * 0.42, -0.6 - 0.36 * looks.ears)
        head.shape([(side * 0.06, -0.72), tip, (side * 0.5, -0.4)], looks.coat)
        inner = [(side * 0.17, -0.7), (side * 0.4, -0.55 - 0.3 * looks.ears), (side * 0.42, -0.5)]
        replace(head, width=0).shape(inner, looks.accent)
    head.ellipse((0, -0.38), (0.53, 0.42), looks.coat)
    if looks.marked:
        for x in (-0.12, 0.0, 0.12):
            head.stroke([(x, -0.77), (x * 0.7, -0.6)], looks.shade, 0.05)
    for side in (-1, 1):
        eye(head, (side * 0.22, -0.42), 0.12, looks, pupil=0.45)
    for side in (-1, 1):
        head.ellipse((side * 0.08, -0.19), (0.11, 0.08), looks.belly)
    head.shape([(-0.07, -0.28), (0.07, -0.28), (0, -0.2)], looks.accent)
    for side in (-1, 1):
        for rise in (-0.07, 0.0, 0.07):
            whisker = [(side * 0.2, -0.2 + rise / 2), (side * 0.66, -0.22 + rise * 2)]
            head.stroke(whisker, mix(pen.ink, WHITE, 0.2), 0.018)


def owl(pen: Pen, looks: Looks) -> None:
    """Draw an owl."""
    stout = looks.stoutness
    for side in (-1, 1):
        for toe in (-0.09, 0.0, 0.09):
            pen.ellipse((side * 0.18 * stout + toe, 0.94), (0.06, 0.09), looks.accent)
    pen.ellipse((0, 0.36), (0.48 * stout, 0.58), looks.coat)
    pen.ellipse((0, 0.48), (0.3 * stout, 0.42), looks.belly)
    if looks.marked:
        for y in (0.3, 0.48, 0.66):
            for x in (-0.14, 0.0, 0.14):
                pen.stroke(arc((x * stout, y), (0.06, 0.06), 0.2, math.pi - 0.2), looks.shade, 0.03)
    for side in (-1, 1):
        wing = pen.turned(-side * 0.5 * looks.flourish, (side * 0.4 * stout, 0))
        wing.ellipse((side * 0.47 * stout, 0.36), (0.14, 0.42), looks.shade, tilt=side * 0.12)

    head = pen.turned(looks.tilt, (0, -0.1))
    for side in (-1, 1):
        tip = (side * 0.52, -0.62 - 0.22 * looks.ears)
        head.shape([(side * 0.08, -0.72), tip, (side * 0.5, -0.4)], looks.shade)
    head.ellipse((0, -0.38), (0.53, 0.42), looks.coat)
    for side in (-1, 1):
        replace(head, width=0).ellipse(
            (side * 0.22, -0.38), (0.26, 0.28), mix(looks.belly, WHITE, 0.4)
        )
    for side in (-1, 1):
        eye(head, (side * 0.21, -0.4), 0.16, looks, pupil=0.6)
    head.shape([(-0.08, -0.33), (0.08, -0.33), (0, -0.1)], looks.accent)


ANIMALS: dict[str, Callable[[Pen, Looks], None]] = {"cats": cat, "owls": owl}
CLASSES = tuple(ANIMALS)


def eye(pen: Pen, centre: Point, radius: float, looks: Looks, pupil: float) -> None:
    """Draw an eye; `pupil` is the pupil's width as a part of the eye's."""
    dark = (28, 26, 34)
    if looks.asleep:
        pen.stroke(arc(centre, (radius, radius * 0.6), 0.2, math.pi - 0.2), dark, 0.045)
        return
    radius *= looks.round_eyes
    pen.ellipse(centre, (radius, radius), looks.iris)
    bare = replace(pen, width=0)
    x, y = centre[0] + looks.gaze[0] * radius, centre[1] + looks.gaze[1] * radius
    bare.ellipse((x, y), (radius * pupil, radius * 0.62), dark)
    bare.ellipse((x - radius * 0.18, y - radius * 0.25), (radius * 0.17, radius * 0.17), WHITE)


def props(pen: Pen, rng: np.random.Generator) -> None:
    """Sometimes a scarf, a hat or the pea-green boat, on either kind alike."""
    colour = jitter(pick(SCENERY, rng), rng)
    if rng.random() < 0.2:
        pen.shape([(-0.4, -0.06), (0.4, -0.06), (0.44, 0.1), (-0.44, 0.1)], colour)
        pen.shape([(0.1, 0.06), (0.28, 0.06), (0.32, 0.42), (0.14, 0.42)], colour)
    if rng.random() < 0.15:
        x = rng.uniform(-0.12, 0.12)
        pen.shape([(x - 0.2, -1.1), (x + 0.2, -1.1), (x + 0.18, -0.74), (x - 0.18, -0.74)], colour)
        pen.shape(
            [(x - 0.34, -0.78), (x + 0.34, -0.78), (x + 0.34, -0.7), (x - 0.34, -0.7)], colour
        )
    if rng.random() < 0.2:
        hull = jitter(PEA_GREEN, rng)
        top = rng.uniform(0.3, 0.6)
        pen.shape(
            [
                (-1.1, top - 0.12),
                (-0.8, top),
                (0.8, top),
                (1.1, top - 0.12),
                (0.7, 1.1),
                (-0.7, 1.1),
            ],
            hull,
        )
        pen.stroke([(-0.9, top + 0.18), (0.9, top + 0.18)], mix(hull, WHITE, 0.5), 0.05)


def background(large: int, rng: np.random.Generator) -> Image.Image:
    """Draw a large × large ground: light falling off, stripes, checks or clouds of two colours."""
    first, second = (np.array(jitter(pick(SCENERY, rng), rng), np.float64) for _ in range(2))
    angle = rng.uniform(0, 2 * math.pi)
    # Drawn small and enlarged: grounds are soft, and this is most of the picture's time otherwise.
    steps = np.linspace(-1, 1, large // SUPERSAMPLING)
    along = steps[None, :] * math.cos(angle) + steps[:, None] * math.sin(angle)
    across = steps[:, None] * math.cos(angle) - steps[None, :] * math.sin(angle)
    kind = rng.choice(["gradient", "stripes", "checks", "clouds"])
    waves = rng.uniform(3, 14)
    if kind == "gradient":
        share = (along + 1.42) / 2.84
    elif kind == "stripes":
        share = 0.5 + 0.5 * np.clip(4 * np.sin(waves * along), -1, 1)
    elif kind == "checks":
        share = 0.5 + 0.5 * np.clip(4 * np.sin(waves * along) * np.sin(waves * across), -1, 1)
    else:
        coarse = Image.fromarray(rng.uniform(0, 255, (9, 9)).astype(np.uint8))
        share = np.asarray(coarse.resize((len(steps), len(steps)), Image.Resampling.BICUBIC)) / 255
    ground = first + (second - first) * rng.uniform(0.2, 0.8) * share[..., None]
    small = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    return small.resize((large, large), Image.Resampling.BILINEAR)


def clutter(draw: ImageDraw.ImageDraw, large: int, rng: np.random.Generator) -> None:
    """Discs, spikes and bars of the animals' own colours, behind them."""
    for _ in range(rng.integers(0, 6)):
        scatter(draw, large * rng.uniform(0, 1, 2), large * rng.uniform(0.03, 0.14), rng)


def occlusion(draw: ImageDraw.ImageDraw, pen: Pen, large: int, rng: np.random.Generator) -> None:
    """Up to two things in front of the animal."""
    for _ in range(rng.integers(0, 3)):
        (place,) = pen.pixels([tuple(rng.uniform(-0.9, 0.9, 2))])
        scatter(draw, np.array(place), large * rng.uniform(0.03, 0.1), rng)


def scatter(
    draw: ImageDraw.ImageDraw, centre: np.ndarray, radius: float, rng: np.random.Generator
) -> None:
    """One disc, spike or bar about `centre`; both in pixels."""
    colour = jitter(pick((*COATS, *SCENERY, *EYES), rng), rng)
    pen = Pen(draw, radius * rotation(rng.uniform(0, 2 * math.pi)), centre, 0, colour)
    kind = rng.choice(["disc", "spike", "bar"])
    if kind == "disc":
        pen.ellipse((0, 0), (1, rng.uniform(0.5, 1)), colour)
    elif kind == "spike":
        pen.shape([(-0.7, 0.8), (0.7, 0.8), (0, -1)], colour)
    else:
        pen.shape([(-2, -0.3), (2, -0.3), (2, 0.3), (-2, 0.3)], colour)


def lighting(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Put the picture under a coloured light from one side, with a camera's grain."""
    pixels = np.asarray(image, np.float64)
    steps = np.linspace(-1, 1, image.width)
    angle = rng.uniform(0, 2 * math.pi)
    falloff = steps[None, :] * math.cos(angle) + steps[:, None] * math.sin(angle)
    light = rng.uniform(0.65, 1.15) * (1 + rng.uniform(0, 0.3) * falloff)
    tint = rng.uniform(0.88, 1.08, 3)
    grain = rng.normal(0, rng.uniform(0, 6), pixels.shape[:2])
    lit = pixels * light[..., None] * tint + grain[..., None]
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def arc(centre: Point, radii: Point, start: float, stop: float, *, tilt: float = 0.0) -> np.ndarray:
    """float64 [33, 2]: points of an ellipse about `centre` between two angles, in radians."""
    angles = np.linspace(start, stop, 33)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii
    turned: np.ndarray = points @ rotation(tilt).T + centre
    return turned


def rotation(angle: float) -> np.ndarray:
    """float64 [2, 2]: turns by `angle` radians, clockwise where y points down."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def pick(colours: Sequence[Colour], rng: np.random.Generator) -> Colour:
    """Draw one of the colours at random."""
    return colours[int(rng.integers(len(colours)))]


def jitter(colour: Colour, rng: np.random.Generator) -> Colour:
    """Change each channel of a colour a little, at random."""
    red, green, blue = np.clip(np.array(colour) + rng.normal(0, 14, 3), 0, 255).astype(int)
    return int(red), int(green), int(blue)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Mix two colours: `share` (0–1) of the way from `one` to `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
