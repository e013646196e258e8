"""Packaging of hicfm_jax; BUILD.md says what each extra is for and why the ranges are what they are."""

from setuptools import find_packages, setup

JAX = ">=0.10.2,<0.13"
RUFF = "ruff==0.17.6"

CORE = [
    f"jax{JAX}",
    "flax>=0.12.8,<0.13",
    "optax>=0.2.8,<0.3",
    "orbax-checkpoint>=0.12.8,<0.13",
    "numpy>=2",
    "scipy>=1.14",
    "cooler>=0.11",
    "h5py>=3.11",
    "pandas>=2",
    "tensorflow-datasets>=4.9.10",
    "importlib_resources",  # tensorflow-datasets imports it without declaring it
    "ml-collections>=1.1",
    "absl-py>=2",
    "etils[epath]>=1.9",
    "safetensors>=0.5",
    "tensorboardX>=2.6",
    "pillow>=10",
    "tqdm>=4.66",
]

EXTRAS = {
    # The CPU build has wheels for x86-64 Linux and Windows only.
    "data": [
        "tensorflow-cpu>=2.21; platform_machine == 'x86_64' or platform_machine == 'AMD64'",
        "tensorflow>=2.21; platform_machine != 'x86_64' and platform_machine != 'AMD64'",
        "array-record>=0.5",
        "isal>=1.7",
    ],
    "hic": ["hictkpy>=1.4"],
    "tracks": ["pybigtools>=0.3"],
    "straw": ["hic-straw>=1.3.1", "hictkpy>=1.4"],
    "beam": ["apache-beam[dask]>=2.70"],
    "evaluate": ["cooltools>=0.7", "matplotlib>=3.8", "scikit-image>=0.24"],
    # Holds pandas below 3, and so is not in `all`.
    "embedding": ["anndata>=0.11", "umap-learn>=0.5.7"],
    "torch": ["torch==2.13.0"],
    "cuda": [f"jax[cuda12]{JAX}"],
    "tpu": [f"jax[tpu]{JAX}"],
    "dev": [
        *("pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6", "selenium>=4.30"),
        *("nbclient>=0.10", "ipykernel>=6.29", RUFF, "pre-commit>=4", "tensorboard>=2.20"),
    ],
    # Ruff breaks the lines of long signatures.
    "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.6,<10", "mkdocstrings[python]>=1,<2", RUFF],
}
# What installs on every machine: no compiler (straw), no accelerator (cuda, tpu).
EVERYWHERE = ("data", "hic", "tracks", "beam", "evaluate", "torch", "dev", "docs")
EXTRAS["all"] = [requirement for name in EVERYWHERE for requirement in EXTRAS[name]]

setup(
    name="hicfm_jax",
    version="0.1.0.dev0",
    description="Masked-autoencoder foundation models for Hi-C contact maps of plants, in JAX and Flax",
    license="Apache-2.0",
    python_requires=">=3.11",
    # An installed package has the configs inside it; a checkout beside it.
    packages=[*find_packages(include=["hicfm_jax", "hicfm_jax.*"]), "hicfm_jax.configs"],
    package_dir={"hicfm_jax.configs": "configs"},
    package_data={"hicfm_jax": ["pretrained/*", "evaluate/report/*.js"]},
    entry_points={"console_scripts": ["hicfm = hicfm_jax.programs:main"]},
    install_requires=CORE,
    extras_require=EXTRAS,
)
