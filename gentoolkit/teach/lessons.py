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
# Each row: the part, the file's name, the title.
_ROWS = (
    ("", "00_start", "One chain, many families"),
    ("I", "01_elbo", "The evidence and its lower bound"),
    ("I", "02_vae", "The variational autoencoder"),
    ("I", "03_hierarchy", "Many latents"),
    ("I", "04_adversary", "Learning without a density"),
    ("II", "05_change_of_variables", "The change of variables"),
    ("II", "06_coupling", "Coupling, autoregression, splines"),
    ("II", "07_continuous", "Residual flows and flows in time"),
    ("II", "08_cheap_gradients", "Self-normalizing flows"),
    ("II", "09_better_bases", "Better sources: copulas and boosting"),
    ("II", "10_flow_graphs", "Flows along a graph"),
    ("II", "11_two_domains", "Two domains, one latent space"),
    ("II", "12_symmetry", "Flows that respect symmetry"),
    ("II", "13_gauge", "Flows on groups and lattices"),
    ("III", "14_stochastic_flows", "Stochastic normalizing flows"),
    ("III", "15_annealing", "Annealed importance sampling"),
    ("IV", "16_diffusion", "From the hierarchy to diffusion"),
    ("IV", "17_samplers", "Equations that sample"),
    ("IV", "18_ddim", "Fewer steps"),
    ("IV", "19_guidance", "Guidance, and what it samples"),
    ("IV", "20_likelihood", "Likelihood and soft truncation"),
    ("IV", "21_nonlinear", "Nonlinear diffusion"),
    ("IV", "22_bridges", "Diffusion bridges"),
    ("IV", "23_markov_models", "Denoising on any space"),
    ("V", "24_jumps", "Processes that jump"),
    ("V", "25_discrete_diffusion", "Discrete diffusion"),
    ("VI", "26_gflownet", "Flows on a graph of states"),
    ("VI", "27_gflownet_uses", "What a GFlowNet is good for"),
    ("VI", "28_energy", "Energies learned from data"),
    ("VI", "29_causes", "Posteriors over causes"),
    ("VII", "30_graphs", "Generating graphs"),
    ("VII", "31_one_map", "All families on one map"),
)
# Minutes that a newcomer needs for each lesson that is ready: `python -m tools.minutes`.
_MINUTES = {
    "00": 45,
    "01": 55,
    "02": 60,
    "03": 60,
    "05": 55,
    "06": 65,
    "07": 55,
    "08": 55,
    "09": 55,
    "10": 55,
    "11": 55,
    "12": 55,
    "13": 60,
    "14": 55,
    "15": 60,
    "16": 60,
    "17": 55,
    "18": 55,
    "19": 50,
    "20": 55,
    "24": 55,
    "25": 60,
    "26": 65,
    "27": 60,
    "31": 55,
}


@dataclass(frozen=True)
class Lesson:
    """One row of the course.

    Arguments:
        name: the file's, without its ending.
        title: what a reader sees.
        part: a key of PARTS.
        minutes: how long a newcomer needs; 0 for a lesson to come.
        ready: whether its text and notebook exist.
    """

    name: str
    title: str
    part: str
    minutes: int
    ready: bool = False

    @property
    def number(self) -> str:
        """Two digits."""
        return self.name[:2]


LESSONS = tuple(
    Lesson(name, title, part, _MINUTES.get(name[:2], 0), name[:2] in _MINUTES)
    for part, name, title in _ROWS
)


def lesson(name: str) -> Lesson:
    """Find a lesson by its file name, such as `00_start`.

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
        head = "".join(f'<th scope="col">{word}</th>' for word in ("no.", "lesson", "time"))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def course_map() -> CourseMap:
    """Show the lessons in their order, as a table."""
    return CourseMap()
