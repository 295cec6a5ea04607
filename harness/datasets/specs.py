"""The real datasets a protocol may name. A new one is one more entry here (design, "Pinned sources")."""

from __future__ import annotations

from harness.datasets.base import DatasetSpec

_CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# WordNet's first word for each id, in label order, that is by sorted id.
_TINY_IMAGENET_WORDS = """\
goldfish, European fire salamander, bullfrog, tailed frog, American alligator, boa constrictor, trilobite, scorpion, black
widow, tarantula, centipede, goose, koala, jellyfish, brain coral, snail, slug, sea slug, American lobster, spiny lobster,
black stork, king penguin, albatross, dugong, Chihuahua, Yorkshire terrier, golden retriever, Labrador retriever, German
shepherd, standard poodle, tabby, Persian cat, Egyptian cat, cougar, lion, brown bear, ladybug, fly, bee, grasshopper,
walking stick, cockroach, mantis, dragonfly, monarch, sulphur butterfly, sea cucumber, guinea pig, hog, ox, bison, bighorn,
gazelle, Arabian camel, orangutan, chimpanzee, baboon, African elephant, lesser panda, abacus, academic gown, altar, apron,
backpack, bannister, barbershop, barn, barrel, basketball, bathtub, beach wagon, beacon, beaker, beer bottle, bikini,
binoculars, birdhouse, bow tie, brass, broom, bucket, bullet train, butcher shop, candle, cannon, cardigan, cash machine, CD
player, chain, chest, Christmas stocking, cliff dwelling, computer keyboard, confectionery, convertible, crane, dam, desk,
dining table, drumstick, dumbbell, flagpole, fountain, freight car, frying pan, fur coat, gasmask, go-kart, gondola,
hourglass, iPod, jinrikisha, kimono, lampshade, lawn mower, lifeboat, limousine, magnetic compass, maypole, military
uniform, miniskirt, moving van, nail, neck brace, obelisk, oboe, organ, parking meter, pay-phone, picket fence, pill bottle,
plunger, pole, police van, poncho, pop bottle, potter's wheel, projectile, punching bag, reel, refrigerator, remote control,
rocking chair, rugby ball, sandal, school bus, scoreboard, sewing machine, snorkel, sock, sombrero, space heater, spider
web, sports car, steel arch bridge, stopwatch, sunglasses, suspension bridge, swimming trunks, syringe, teapot, teddy,
thatch, torch, tractor, triumphal arch, trolleybus, turnstile, umbrella, vestment, viaduct, volleyball, water jug, water
tower, wok, wooden spoon, comic book, plate, guacamole, ice cream, ice lolly, pretzel, mashed potato, cauliflower, bell
pepper, mushroom, orange, lemon, banana, pomegranate, meat loaf, pizza, potpie, espresso, alp, cliff, coral reef, lakeside,
seashore, acorn"""
_TINY_IMAGENET_NAMES = tuple(_TINY_IMAGENET_WORDS.replace("\n", " ").split(", "))

_SPECS = [
    DatasetSpec(
        name="digits",
        repo="",
        revision="",
        train_files="",
        test_files="",
        image_column="",
        label_column="",
        classes=10,
        train_rows=898,
        test_rows=899,
        resolution=8,
        class_names=tuple("0123456789"),
    ),
    DatasetSpec(
        name="cifar10",
        repo="uoft-cs/cifar10",
        revision="0b2714987fa478483af9968de7c934580d0bb9a2",
        train_files="plain_text/train-*.parquet",
        test_files="plain_text/test-*.parquet",
        image_column="img",
        label_column="label",
        classes=10,
        train_rows=50_000,
        test_rows=10_000,
        resolution=32,
        class_names=_CIFAR10_NAMES,
    ),
    DatasetSpec(
        name="cifar100",
        repo="uoft-cs/cifar100",
        revision="aadb3af77e9048adbea6b47c21a81e47dd092ae5",
        train_files="cifar100/train-*.parquet",
        test_files="cifar100/test-*.parquet",
        image_column="img",
        label_column="fine_label",
        classes=100,
        train_rows=50_000,
        test_rows=10_000,
        resolution=32,
    ),
    # Stanford's test split has no public labels, so the field measures on the labelled `valid` split.
    DatasetSpec(
        name="tiny-imagenet",
        repo="zh-plus/tiny-imagenet",
        revision="5a77092c28e51558c5586e9c5eb71a7e17a5e43f",
        train_files="data/train-*.parquet",
        test_files="data/valid-*.parquet",
        image_column="image",
        label_column="label",
        classes=200,
        train_rows=100_000,
        test_rows=10_000,
        resolution=64,
        class_names=_TINY_IMAGENET_NAMES,
    ),
    # As above: the labelled validation split stands in for a test split whose labels are not public.
    DatasetSpec(
        name="imagenet-1k",
        repo="ILSVRC/imagenet-1k",
        revision="49e2ee26f3810fb5a7536bbf732a7b07389a47b5",
        train_files="data/train-*.parquet",
        test_files="data/validation-*.parquet",
        image_column="image",
        label_column="label",
        classes=1000,
        train_rows=1_281_167,
        test_rows=50_000,
        resolution=None,
        gated=True,
    ),
]

DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in _SPECS}
