"""Every key of a run, with its meaning, its unit and where the paper says it.

A preset starts from here and overrides existing keys; nothing else reads or invents
keys. Empty strings, empty tuples and zeros mean "off" or "from the dataset" where the
comment says so.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The recipe of Wide-ResNet-28-10 on CIFAR-10 (Table 7) with AAA."""
    c = ConfigDict()
    c.seed = 0  # root of all randomness: initialisation, data order, draws, policies
    # N, images of a mini-batch (Table 7), over all devices; 0: by the number of images.
    c.batch_size = 128
    c.epochs = 200  # Table 7; 0: by the number of images
    c.max_steps = 0  # stop after so many steps (schedules keep their length); 0: never
    # Accumulation: each device works through its groups in so many passes; 0: as few as
    # fit its memory, by estimate, and twice as many whenever they do not fit.
    c.num_passes = 0
    c.on_nonfinite_loss = "stop"  # or "skip": leave out the update and count it
    c.deterministic = False  # on GPUs: bit-equal repeats, slower; CPUs always are
    # Below 1 in the cells of a shrunken table (configs/table.py); every output says so.
    c.scale = 1.0
    c.compilation_cache = True  # keep compiled programs in the user's cache directory

    c.data = ConfigDict()
    c.data.name = "cifar10"  # a row of aaa_jax.data.DATASETS
    c.data.dir = ""  # TFDS directory; "": TFDS_DATA_DIR or ~/tensorflow_datasets
    # A subset of the train split, stratified if resident, uniform if streamed; 0: all.
    c.data.num_train_images = 0
    # "resident": the split is decoded once and lives on the device; "stream": read,
    # decoded and cropped by the host at every step; "auto": as the dataset asks for.
    c.data.loader = "auto"
    # Share of each class of the train split that is tested on instead of the test
    # split, drawn by the seed; 0: the test split, or a fifth where there is none.
    c.data.validation_fraction = 0.0
    # Side of streamed rows, pixels; 0: of the dataset; -1: by its images, 64 to 224.
    c.data.image_size = 0
    # Silent: of streamed crops that shrink: "area"; "supersample", nearly the same in
    # three quarters of the host's time; "bilinear", in half of it, which aliases.
    c.data.resample = "area"
    c.data.on_bad_image = "stop"  # of a stream; or "skip": go on, counted and logged
    c.data.num_threads = 0  # that decode a stream; 0: one for each core
    c.data.prefetch = 2  # batches of a stream made ahead

    c.model = ConfigDict()
    c.model.name = "wide_resnet"  # a row of aaa_jax.models.MODELS
    c.model.options = ConfigDict({"depth": 28, "width": 10})  # of that network
    c.model.dtype = "bfloat16"  # compute type; parameters and losses stay float32
    # Weights to begin with: a run directory, or a .safetensors or .npz file with the
    # names of Flax or of timm's ResNets; the head begins anew where classes differ.
    c.model.init_from = ""

    c.batch_norm = ConfigDict()
    # Rows that share statistics; divides batch_size. 0: batch_size, at most 128 (256
    # where images are streamed). Silent: N on CIFAR, 256 on ImageNet.
    c.batch_norm.group_size = 0
    # Silent: what a group holds. "mixed": all policies; "per_policy"; "full": all rows
    # of the large batch (one device, one pass only).
    c.batch_norm.grouping = "mixed"

    c.augment = ConfigDict()
    c.augment.padding = 4  # zero padding before the random crop, pixels (Sec. 4.2)
    c.augment.flip = "dataset"  # "dataset", "yes", "no": horizontal flip, p = 0.5
    # Silent: crop and flip per row, or "shared" by the M instances of an image.
    c.augment.crops = "independent"
    c.augment.cutout_size = 16  # side of the fixed Cutout, pixels (Sec. 4.2); 0: none

    c.policies = ConfigDict()
    c.policies.source = "adversarial"  # a row of aaa_jax.search.sources.SOURCES
    c.policies.num_policies = 8  # M (Sec. 4.2, Choice of M)
    c.policies.num_sub_policies = 5  # Q (Sec. 3.2)
    # Steps between two controller updates; 0: an epoch (Alg. 1); -1: at most an epoch,
    # and short enough for 200 updates, after about 100 of which the controller moves.
    c.policies.round_steps = 0
    # Silent: magnitude -> value. A row of aaa_jax.augment.magnitudes.RANGES; published
    # sources bring their own, and their own order.
    c.policies.ranges = "monotone"
    # Silent: colour of moved-in pixels and Cutout patches. "dataset": its mean;
    # "black"; "grey" (128); "alpha": as AutoAugment's CIFAR code, 0 after
    # normalisation unless a later op makes the pixel valid.
    c.policies.fill = "dataset"
    # Sec. 4.2: "standard_first", then the policy, then Cutout; or "policy_first".
    c.policies.order = "standard_first"
    c.policies.published = "cifar10"  # of source "published": a row of AUTOAUGMENT
    c.policies.randaugment_num_ops = 2  # of source "randaugment": its N, ops in a row
    c.policies.randaugment_magnitude = 9  # of source "randaugment": its M, 0 to scale
    # Silent: the strongest magnitude: 10, the paper's and timm's scale, or 30,
    # torchvision's.
    c.policies.randaugment_scale = 10
    # Of source "replay": the directory of a finished run (Table 6), and what of its M
    # policies of an epoch is applied. Silent: "best5": the five of highest loss as one
    # policy; "all" as one; "resample": five drawn from the controller's snapshot.
    # Ranges, order and fill are applied as recorded.
    c.policies.replay_run = ""
    c.policies.replay_selection = "best5"
    c.policies.file = ""  # of source "file": JSON of docs/policies.md

    c.controller = ConfigDict()
    c.controller.hidden_size = 100  # LSTM units (Sec. 4.1)
    c.controller.embedding_size = 32  # Sec. 4.1
    c.controller.learning_rate = 0.00035  # Adam (Sec. 4.1)
    c.controller.entropy_weight = 0.00001  # on the summed entropy (Sec. 4.1)
    # Silent: the LSTM state lives through all 4Q decisions, or starts anew with each
    # sub-policy.
    c.controller.reset_per_sub_policy = False
    # Silent: average of L_m over the round: 0: running mean; d: exponential, decay d.
    c.controller.average_decay = 0.0
    # Silent: "standardize": (L - mean) / (std + 1e-5) over M; "center": L - mean.
    c.controller.normalization = "standardize"
    # Departure: "gain": the loss on rows of the round's last mini-batch at the round's
    # start, less that before they are trained on: nothing where nothing can be learned.
    c.controller.reward = "loss"  # Eq. 8
    # Departures: what is rewarded. "policy": its 20 decisions by L_m (Eq. 9);
    # "sub_policy": its own four decisions by the loss of its own rows;
    # "sub_policy_less_image_mean": by that loss less the mean over the rows' images.
    c.controller.credit = "policy"
    # Silent: steps of Adam on a round's policies; above 1 with PPO's clipped ratio.
    c.controller.steps_per_round = 1
    # Departures, off by default: restraints against collapse.
    c.controller.tanh_constant = 0.0  # logits = c tanh(logits); 0: none
    c.controller.temperature = 1.0  # logits / temperature
    c.controller.entropy_target = 0.0  # fraction of the maximum to hold; 0: none
    c.controller.kl_cap = 0.0  # largest KL of successive controllers, nats; 0: none

    c.optimizer = ConfigDict()
    c.optimizer.learning_rate = 0.1  # not scaled by M (Eq. 6); Table 7
    c.optimizer.momentum = 0.9  # Silent
    c.optimizer.nesterov = True  # Silent
    c.optimizer.weight_decay = 5e-4  # coupled (Table 7)
    c.optimizer.decay_norm_and_bias = True  # Silent: decay BatchNorm and biases too
    # Silent: global norm of the averaged gradient with weight decay; 0: no clipping.
    c.optimizer.clip_norm = 5.0
    c.optimizer.schedule = "step"  # or "cosine", per step, to 0 (Table 7)
    c.optimizer.milestones = (60, 120, 160)  # Silent: epochs of the step schedule
    c.optimizer.factor = 0.2  # Silent: of the step schedule
    c.optimizer.warmup_epochs = 0.0  # Silent: linear from 0

    c.devices = ConfigDict()
    c.devices.num_devices = 0  # of this kind of backend; 0: all
    # "auto": jit on one device, pmap on one process, shard_map on several; or by name.
    c.devices.mapping = "auto"
    c.devices.steps_in_flight = 2  # steps dispatched ahead of the device
    # Without a step (test batch, checkpoint) for so long, the process prints all stacks
    # and ends; compilation does not count. 0: wait for ever.
    c.devices.hang_seconds = 1800.0

    c.evaluation = ConfigDict()
    c.evaluation.batch_size = 1000  # images, over all devices
    c.evaluation.every_epochs = 1  # and always after the last one
    # At most so many test images, drawn by the seed, for a quick look; 0: all. Every
    # output says so.
    c.evaluation.max_images = 0
    # Short side of a streamed test image, pixels (Silent); 0: 256/224 of its crop.
    c.evaluation.resize = 0
    c.evaluation.image_size = 0  # its centre crop; 0: that of training

    c.checkpoint = ConfigDict()
    c.checkpoint.every_steps = 0  # besides every epoch's end; 0: only there
    c.checkpoint.keep = 2  # newest ones kept

    c.log = ConfigDict()
    c.log.every_seconds = 30.0  # plain progress lines where there is no terminal
    c.log.pictures = True  # of each epoch's policies, for TensorBoard
    return c
