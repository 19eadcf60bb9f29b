"""Packaging: what is installed, under which names, and what it needs."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    """The version, without importing the package: its dependencies may not be there yet."""
    names: dict[str, str] = {}
    exec((HERE / "img2dataset" / "_version.py").read_text(encoding="utf-8"), names)
    return names["__version__"]


def requirements(name: str) -> list[str]:
    """The lines of a requirements file, without their comments."""
    lines = (line.partition("#")[0].strip() for line in (HERE / name).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


setup(
    name="img2dataset",
    version=version(),
    description="Turn a list of image URLs into an image dataset",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    url="https://github.com/rom1504/img2dataset",
    author="The img2dataset authors",
    license="MIT",
    license_files=["LICENSE"],
    keywords=["machine learning", "computer vision", "download", "image", "dataset", "webdataset"],
    classifiers=[
        "Development Status :: 5 - Production/Stable",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["img2dataset", "img2dataset.*"]),
    package_data={"img2dataset": ["py.typed"]},
    python_requires=">=3.10",
    install_requires=requirements("requirements.txt"),
    extras_require={
        "s3": ["s3fs"],
        "gs": ["gcsfs"],
        "heif": ["pillow-heif"],
        "tfrecord": ["protobuf>=4.22", "crc32c"],
        "test": requirements("requirements-test.txt"),
    },
    entry_points={"console_scripts": ["img2dataset=img2dataset.main:main"]},
)
