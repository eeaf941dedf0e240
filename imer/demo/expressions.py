"""What the face can do: landmarks of the portrait, the actions that move them, and four expressions made of actions.

An action says where some landmarks go, in the manner of the Facial Action Coding System; an expression is a weighted
sum of actions. Everything is in pixels of scikit-image's `astronaut` portrait, x to the right, y down; "left" is the
viewer's left.
"""

from __future__ import annotations

Shift = dict[str, tuple[float, float]]  # landmark → how far it moves in x and y

# Landmarks of the portrait as it is: smiling, with open lips.
LANDMARKS: dict[str, tuple[float, float]] = {
    "left_eye_outer": (192.5, 102.0), "left_eye_inner": (211.7, 103.3),
    "left_lid_upper": (203.3, 97.5), "left_lid_lower": (203.3, 105.0),
    "right_eye_inner": (236.7, 104.2), "right_eye_outer": (258.7, 103.3),
    "right_lid_upper": (247.0, 99.0), "right_lid_lower": (247.0, 107.0),
    "left_brow_outer": (190.5, 90.5), "left_brow_mid": (200.8, 88.3), "left_brow_inner": (213.3, 92.7),
    "right_brow_inner": (238.3, 93.8), "right_brow_mid": (250.8, 92.0), "right_brow_outer": (263.0, 95.0),
    "nose_bridge": (225.0, 106.7), "nose_tip": (225.0, 126.7),
    "left_nostril": (214.2, 130.0), "right_nostril": (235.3, 130.8),
    "left_cheek": (195.0, 123.3), "right_cheek": (255.0, 125.0),
    "left_corner": (204.2, 140.0), "right_corner": (243.7, 141.2),
    "upper_lip_top": (225.0, 138.7), "upper_lip_top_left": (214.2, 139.7), "upper_lip_top_right": (235.8, 140.3),
    "upper_lip": (224.7, 143.2), "upper_lip_left": (214.2, 142.2), "upper_lip_right": (235.8, 142.5),
    "lower_lip": (224.7, 149.2), "lower_lip_left": (215.0, 147.5), "lower_lip_right": (234.7, 147.5),
    "lower_lip_bottom": (224.7, 155.0), "lower_lip_bottom_left": (215.0, 152.3),
    "lower_lip_bottom_right": (235.0, 152.3),
    "chin": (221.5, 177.0), "left_jaw": (184.7, 148.3), "right_jaw": (265.3, 149.2),
    "left_temple": (181.7, 106.7), "right_temple": (270.8, 106.7), "forehead": (225.8, 83.0),
}  # fmt: skip

# From the smile of the portrait to a face at rest: corners in and down, lips together, cheeks down.
AT_REST: Shift = {
    "left_corner": (4.2, 5.6), "right_corner": (-4.2, 5.0),
    "upper_lip_left": (0.8, 3.5), "upper_lip": (0.0, 2.6), "upper_lip_right": (-0.8, 3.4),
    "lower_lip_left": (0.8, -1.0), "lower_lip": (0.0, -2.6), "lower_lip_right": (-0.8, -1.0),
    "upper_lip_top_left": (0.8, 2.9), "upper_lip_top": (0.0, 3.0), "upper_lip_top_right": (-0.8, 2.7),
    "lower_lip_bottom_left": (0.8, -0.6), "lower_lip_bottom": (0.0, -2.4), "lower_lip_bottom_right": (-0.8, -0.6),
    "left_cheek": (0.5, 1.6), "right_cheek": (-0.5, 1.6),
}  # fmt: skip


def _both(name: str, x: float, y: float) -> Shift:
    """The same shift on both sides of the face, `x` towards the viewer's left on the left side."""
    return {f"left_{name}": (-x, y), f"right_{name}": (x, y)}


# What each action does to the landmarks of the face at rest, in portrait pixels at full strength.
ACTIONS: dict[str, Shift] = {
    "smile": {
        **_both("corner", 5.5, -5.6), **_both("cheek", 1.0, -3.2), **_both("lid_lower", 0.0, -1.4),
        "upper_lip_left": (-1.2, -2.6), "upper_lip_right": (1.2, -2.6), "upper_lip": (0.0, -0.6),
        "upper_lip_top_left": (-1.0, -2.4), "upper_lip_top_right": (1.0, -2.4), "upper_lip_top": (0.0, -0.4),
        "lower_lip_left": (-1.2, -1.4), "lower_lip_right": (1.2, -1.4), "lower_lip": (0.0, 0.6),
        "lower_lip_bottom_left": (-1.0, -1.2), "lower_lip_bottom_right": (1.0, -1.2), "lower_lip_bottom": (0.0, 0.6),
    },
    "frown": {
        **_both("corner", -0.6, 6.0), **_both("cheek", 0.0, 1.2),
        "upper_lip_left": (0.0, 1.2), "upper_lip_right": (0.0, 1.2), "upper_lip": (0.0, -1.6),
        "upper_lip_top_left": (0.0, 0.6), "upper_lip_top_right": (0.0, 0.6), "upper_lip_top": (0.0, -1.4),
        "lower_lip_left": (0.0, 1.2), "lower_lip_right": (0.0, 1.2), "lower_lip": (0.0, -1.6),
        "lower_lip_bottom_left": (0.0, 1.0), "lower_lip_bottom_right": (0.0, 1.0), "lower_lip_bottom": (0.0, -1.4),
        "chin": (0.0, -1.2),
    },
    "press": {  # lips pressed thin and wide
        **_both("corner", 1.6, 1.0),
        "upper_lip_top_left": (0.0, 1.8), "upper_lip_top_right": (0.0, 1.8), "upper_lip_top": (0.0, 2.2),
        "lower_lip_bottom_left": (0.0, -1.8), "lower_lip_bottom_right": (0.0, -1.8), "lower_lip_bottom": (0.0, -2.2),
    },
    "brows_together": {**_both("brow_inner", -3.4, 5.6), **_both("brow_mid", -1.4, 2.6), **_both("brow_outer", 0.0, -1.6)},
    "inner_brows_up": {**_both("brow_inner", -1.4, -6.0), **_both("brow_mid", 0.0, -0.6), **_both("brow_outer", 0.0, 3.4)},
    "brows_up": {**_both("brow_inner", 0.0, -2.6), **_both("brow_mid", 0.0, -4.0), **_both("brow_outer", 0.0, -2.8)},
    "lids_wide": {**_both("lid_upper", 0.0, -2.0), **_both("lid_lower", 0.0, 0.8)},
    "lids_low": {**_both("lid_upper", 0.0, 2.4), **_both("eye_outer", 0.0, 1.0)},
    "squint": {**_both("lid_upper", 0.0, 1.0), **_both("lid_lower", 0.0, -1.8)},
    "blink": {**_both("lid_upper", 0.0, 4.5), **_both("lid_lower", 0.0, -0.5)},
    "jaw": {  # the lower lip leaves the upper one; what shows between them is painted, see `face.py`
        "lower_lip_left": (0.0, 3.4), "lower_lip": (0.0, 7.0), "lower_lip_right": (0.0, 3.4),
        "lower_lip_bottom_left": (0.0, 4.2), "lower_lip_bottom": (0.0, 7.0), "lower_lip_bottom_right": (0.0, 4.2),
        "upper_lip": (0.0, -0.8), "upper_lip_top": (0.0, -0.8), "chin": (0.0, 5.0), **_both("jaw", 0.0, 1.0),
    },
}  # fmt: skip

# Expressions as weights of actions. The two of `PAINTED` are painted on, all others are warps.
PAINTED = ("show_teeth", "furrow")
EXPRESSIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "happy": {"smile": 1.0, "brows_up": 0.45, "squint": 0.35, "show_teeth": 1.0},
    "sad": {"frown": 0.85, "inner_brows_up": 1.0, "lids_low": 1.0},
    "angry": {"frown": 0.35, "press": 0.9, "brows_together": 1.1, "squint": 0.5, "furrow": 1.0},
}
