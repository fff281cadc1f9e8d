"""What a lesson calls: the opening line, exercises, predictions, training that can be watched."""

from gentoolkit.teach.exercises import check, hint, solution
from gentoolkit.teach.judge import DigitJudge
from gentoolkit.teach.lessons import LESSONS, Lesson, course_map
from gentoolkit.teach.predict import Prediction, predict
from gentoolkit.teach.profiles import PROFILES, Profile, device, profile, start
from gentoolkit.teach.watch import Watched, watch
from gentoolkit.teach.weights import load_weights
