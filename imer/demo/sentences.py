"""What the speakers say: frames of words that carry an emotion, around a plain topic that carries none."""

from __future__ import annotations

import numpy as np

TOPICS = (
    "the train comes at nine", "my brother called today", "we meet on Friday", "the office moved upstairs",
    "Anna sent the letter", "the shop opens early", "they painted the kitchen", "the class starts at two",
    "Peter has the keys", "the bus stops here", "we have the results", "the room is on the left",
    "she signed the papers", "the talk was on Monday", "they fixed the door", "dinner is at seven",
    "he brought the boxes", "the road is open", "the neighbours moved out", "the parcel came today",
    "we changed the plan", "the team met at noon", "she took the job", "the phone rang twice",
    "they chose the blue one", "the lights went on", "he parked outside", "the paper is printed",
)  # fmt: skip

# `{}` stands for the topic. The neutral frames are also what somebody says who does not let it show.
FRAMES: dict[str, tuple[str, ...]] = {
    "neutral": (
        "I think {}.", "They told me {}.", "As far as I know, {}.", "The note says {}.", "He mentioned that {}.",
        "By the way, {}.", "It seems {}.", "I believe {}.", "According to the list, {}.", "So {}.",
        "I heard that {}.", "Just so you know, {}.", "On the phone they said {}.", "As usual, {}.",
    ),
    "happy": (
        "I am so glad {}!", "How wonderful, {}!", "I love it, {}!", "What great news, {}!", "I am delighted that {}!",
        "Hooray, {}!", "It is a joy that {}!", "Fantastic, {}!", "I am so happy {}!", "What a lovely surprise, {}!",
        "Thank you, {}, that is perfect!", "I could dance, {}!", "This is brilliant, {}!", "Lucky us, {}!",
    ),
    "sad": (
        "I am so sad that {}.", "It breaks my heart that {}.", "Sadly, {}.", "I could cry, {}.",
        "I feel so lonely now that {}.", "I miss them, and {}.", "It hurts me that {}.", "I am heartbroken, {}.",
        "Nothing matters now that {}.", "I feel empty since {}.", "What a loss, {}.", "I am in tears, {}.",
        "It is hopeless, {}.", "I am grieving, and {}.",
    ),
    "angry": (
        "I am furious that {}!", "How dare they, {}!", "I hate it that {}!", "This is outrageous, {}!",
        "I am sick of this, {}!", "It makes me mad that {}!", "Damn it, {}!", "That is enough, {}!",
        "Stop lying, {}!", "Shut up, {}!", "I am so angry that {}!", "What an insult, {}!",
        "Are you stupid, {}!", "I will not stand for it, {}!",
    ),
}  # fmt: skip


def sentence(cue: str, rng: np.random.Generator) -> str:
    """Draw a sentence whose words carry this cue (an emotion; `neutral` for words that carry none)."""
    frame = FRAMES[cue][rng.integers(len(FRAMES[cue]))]
    return frame.format(TOPICS[rng.integers(len(TOPICS))])
