"""What the words of a report mean: its last section, to which the top links."""

WORDS = {
    "test error": (
        "The share of test images whose class the network gets wrong, after the "
        "last epoch, never the best. ± is the standard deviation over runs that "
        "differ in their seed; one run has none."
    ),
    "difference to random": (
        "The mean of the differences between runs of the same seed, with its 95 % t "
        "interval where there are two pairs or more. Below 0 is better. If the "
        "interval holds 0, the two cannot be told apart."
    ),
    "policies": (
        "What is done to the training images. A policy is five sub-policies, one "
        "drawn for each image; a sub-policy is two ops in order, each with a "
        "magnitude from 0 (weakest) to 9. M policies act on every mini-batch."
    ),
    "ours, guarded": (
        "Policies from the paper's controller, a network rewarded for a large "
        "training loss; and from the same, restrained against collapse."
    ),
    "fast, gain": (
        "Departures: as guarded, with a reward for each sub-policy; and a "
        "controller rewarded for what the network gains on new images."
    ),
    "random, fixed, cutout, baseline": (
        "Policies drawn uniformly; none, but M copies of each image; none, with "
        "Cutout; none."
    ),
    "update": ("One step of the controller, at the end of a round of training steps."),
    "loss": (
        "Cross-entropy in nats. The training loss is that of the augmented images, "
        "so it is larger where policies are harder, and says nothing between "
        "methods."
    ),
    "entropy": (
        "How evenly the controller chooses ops and magnitudes: 1 is uniform, 0 is "
        "one choice always."
    ),
    "uniform, ok, narrowing, collapsed": (
        "States of the controller. uniform: entropy above 0.98, so it draws what "
        "random draws; collapsed: below 0.3; narrowing: below 0.5, or the strongest "
        "magnitude has more than 70 % or one op more than 50 %; ok: else."
    ),
    "corruption error": (
        "Test error on images that were made noisy, blurred and so on, at five "
        "severities; its mean is over all corruptions and severities."
    ),
    "device hours": (
        "Hours of training, with the controller's part, summed over devices; tests "
        "do not count."
    ),
}
