"""The list of lessons: the one place that knows their numbers, names and order."""

from dataclasses import dataclass
from html import escape

PARTS = {
    "": "Before all",
    "I": "The evidence",
    "II": "Flows",
    "III": "Chains towards a density",
    "IV": "Diffusion",
    "V": "Jumps",
    "VI": "GFlowNets",
    "VII": "Together",
}


@dataclass(frozen=True)
class Lesson:
    """One row of the course.

    Arguments:
        number: two digits.
        slug: the name's second half.
        title: what a reader sees.
        part: a key of PARTS.
        minutes: how long a newcomer needs.
        ready: whether its text and notebook exist.
    """

    number: str
    slug: str
    title: str
    part: str
    minutes: int
    ready: bool = False

    @property
    def name(self) -> str:
        """The file name without its ending."""
        return f"{self.number}_{self.slug}"


def _rows(part: str, minutes: int, *rows: tuple[str, str, str]) -> tuple[Lesson, ...]:
    ready = set("00 01 02 03 05 06 07 08 14 15 16 17 18 19 24 25 26 27 31".split())
    return tuple(
        Lesson(number, slug, title, part, minutes, ready=number in ready)
        for number, slug, title in rows
    )


LESSONS = (
    *_rows("", 30, ("00", "start", "One chain, many families")),
    *_rows(
        "I",
        60,
        ("01", "elbo", "The evidence and its lower bound"),
        ("02", "vae", "The variational autoencoder"),
        ("03", "hierarchy", "Many latents"),
        ("04", "adversary", "Learning without a density"),
    ),
    *_rows(
        "II",
        60,
        ("05", "change_of_variables", "The change of variables"),
        ("06", "coupling", "Coupling, autoregression, splines"),
        ("07", "continuous", "Residual flows and flows in time"),
        ("08", "cheap_gradients", "Self-normalizing flows"),
        ("09", "better_bases", "Better sources: copulas and boosting"),
        ("10", "flow_graphs", "Flows along a graph"),
        ("11", "two_domains", "Two domains, one latent space"),
        ("12", "symmetry", "Flows that respect symmetry"),
        ("13", "gauge", "Flows on groups and lattices"),
    ),
    *_rows(
        "III",
        60,
        ("14", "stochastic_flows", "Stochastic normalizing flows"),
        ("15", "annealing", "Annealed importance sampling"),
    ),
    *_rows(
        "IV",
        60,
        ("16", "diffusion", "From the hierarchy to diffusion"),
        ("17", "samplers", "Equations that sample"),
        ("18", "ddim", "Fewer steps"),
        ("19", "guidance", "Guidance, and what it samples"),
        ("20", "likelihood", "Likelihood and soft truncation"),
        ("21", "nonlinear", "Nonlinear diffusion"),
        ("22", "bridges", "Diffusion bridges"),
        ("23", "markov_models", "Denoising on any space"),
    ),
    *_rows(
        "V",
        60,
        ("24", "jumps", "Processes that jump"),
        ("25", "discrete_diffusion", "Discrete diffusion"),
    ),
    *_rows(
        "VI",
        60,
        ("26", "gflownet", "Flows on a graph of states"),
        ("27", "gflownet_uses", "What a GFlowNet is good for"),
        ("28", "energy", "Energies learned from data"),
        ("29", "causes", "Posteriors over causes"),
    ),
    *_rows(
        "VII",
        60,
        ("30", "graphs", "Generating graphs"),
        ("31", "one_map", "All families on one map"),
    ),
)


def lesson(name: str) -> Lesson:
    """Find a lesson by its file name.

    Arguments:
        name: the file name without its ending, such as `00_start`.

    Returns:
        The lesson.

    Raises:
        ValueError: if no lesson that is ready has that name.
    """
    ready = {known.name: known for known in LESSONS if known.ready}
    if name not in ready:
        raise ValueError(f"there is no such lesson; got {name!r}; open one of {', '.join(ready)}")
    return ready[name]


@dataclass(frozen=True)
class CourseMap:
    """A table of the lessons that a notebook shows, with links to those that are ready."""

    lessons: tuple[Lesson, ...] = LESSONS

    def __repr__(self) -> str:
        ready = sum(known.ready for known in self.lessons)
        lessons = f"{len(self.lessons)} lessons in {len(PARTS)} parts"
        return f"Map of the course: {lessons}, {ready} ready"

    def _repr_html_(self) -> str:
        rows = []
        for part, heading in PARTS.items():
            title = escape(f"{part}. {heading}" if part else heading)
            rows.append(f'<tr><th colspan="3" scope="rowgroup">{title}</th></tr>')
            for known in self.lessons:
                if known.part == part:
                    text = escape(known.title)
                    link = f'<a href="{known.name}.ipynb">{text}</a>' if known.ready else text
                    state = f"{known.minutes} minutes" if known.ready else "to come"
                    rows.append(f"<tr><td>{known.number}</td><td>{link}</td><td>{state}</td></tr>")
        head = (
            '<tr><th scope="col">no.</th><th scope="col">lesson</th><th scope="col">time</th></tr>'
        )
        return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def course_map() -> CourseMap:
    """Show the lessons in their order.

    Returns:
        An object that Jupyter displays as a table.
    """
    return CourseMap()
