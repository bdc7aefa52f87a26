"""What methods sections cite."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Citation:
    """An article: `authors` as `Surname Initials`, all or followed by et al.; `doi` is empty where there is none."""

    key: str
    authors: tuple[str, ...]
    title: str
    journal: str
    year: int
    volume: str
    number: str
    pages: str
    doi: str
    complete: bool = True

    @property
    def text(self) -> str:
        """As in a list of references."""
        authors = ", ".join(self.authors) + ("" if self.complete else ", et al")
        number = f"({self.number})" if self.number else ""
        doi = f" doi:{self.doi}" if self.doi else ""
        return f"{authors}. {self.title}. {self.journal}. {self.year};{self.volume}{number}:{self.pages}.{doi}"

    @property
    def bibtex(self) -> str:
        """A BibTeX entry of type article."""
        fields = {
            "author": " and ".join((*map(_family_first, self.authors), *(() if self.complete else ("others",)))),
            "title": f"{{{self.title}}}",
            "journal": self.journal,
            "year": str(self.year),
            "volume": self.volume,
            "number": self.number,
            "pages": self.pages.replace("–", "--"),
            "doi": self.doi,
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@article{{{self.key},", *lines, "}"])


def _family_first(author: str) -> str:
    """`Maier-Hein KH` -> `Maier-Hein, K. H.`"""
    if " " not in author:
        return author
    family, _, initials = author.rpartition(" ")
    return f"{family}, {' '.join(f'{letter}.' for letter in initials)}"


_ALL = (
    Citation(
        "boussioux2023",
        (
            *("Boussioux L", "Ma Y", "Thomas NK", "Bertsimas D", "Shusharina N", "Pursley J", "Chen YL"),
            *("DeLaney TF", "Qian J", "Bortfeld T"),
        ),
        "Automated segmentation of sacral chordoma and surrounding muscles using deep learning ensemble",
        "International Journal of Radiation Oncology, Biology, Physics",
        *(2023, "117", "3", "738–749", "10.1016/j.ijrobp.2023.03.078"),
    ),
    Citation(
        "nikolov2021",
        ("Nikolov S", "Blackwell S", "Zverovitch A"),
        "Clinically applicable segmentation of head and neck anatomy for radiotherapy: deep learning algorithm "
        "development and validation study",
        "Journal of Medical Internet Research",
        *(2021, "23", "7", "e26151", "10.2196/26151"),
        complete=False,
    ),
    Citation(
        "heimann2009",
        ("Heimann T", "van Ginneken B", "Styner MA"),
        "Comparison and evaluation of methods for liver segmentation from CT datasets",
        "IEEE Transactions on Medical Imaging",
        *(2009, "28", "8", "1251–1265", "10.1109/TMI.2009.2013851"),
        complete=False,
    ),
    Citation(
        "vaassen2020",
        ("Vaassen F", "Hazelaar C", "Vaniqui A", "Gooding M", "van der Heyden B", "Canters R", "van Elmpt W"),
        "Evaluation of measures for assessing time-saving of automatic organ-at-risk segmentation in radiotherapy",
        "Physics and Imaging in Radiation Oncology",
        *(2020, "13", "", "1–6", "10.1016/j.phro.2019.12.001"),
    ),
    Citation(
        "isensee2021",
        ("Isensee F", "Jaeger PF", "Kohl SAA", "Petersen J", "Maier-Hein KH"),
        "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
        "Nature Methods",
        *(2021, "18", "2", "203–211", "10.1038/s41592-020-01008-z"),
    ),
    Citation(
        "wilcoxon1945",
        ("Wilcoxon F",),
        "Individual comparisons by ranking methods",
        "Biometrics Bulletin",
        *(1945, "1", "6", "80–83", "10.2307/3001968"),
    ),
    Citation(
        "pitman1937",
        ("Pitman EJG",),
        "Significance tests which may be applied to samples from any populations",
        "Supplement to the Journal of the Royal Statistical Society",
        *(1937, "4", "1", "119–130", "10.2307/2984124"),
    ),
    Citation(
        "student1908",
        ("Student",),
        "The probable error of a mean",
        "Biometrika",
        *(1908, "6", "1", "1–25", "10.1093/biomet/6.1.1"),
    ),
    Citation(
        "welch1947",
        ("Welch BL",),
        "The generalization of ‘Student’s’ problem when several different population variances are involved",
        "Biometrika",
        *(1947, "34", "1–2", "28–35", "10.1093/biomet/34.1-2.28"),
    ),
    Citation(
        "holm1979",
        ("Holm S",),
        "A simple sequentially rejective multiple test procedure",
        "Scandinavian Journal of Statistics",
        *(1979, "6", "2", "65–70", ""),
    ),
    Citation(
        "benjamini1995",
        ("Benjamini Y", "Hochberg Y"),
        "Controlling the false discovery rate: a practical and powerful approach to multiple testing",
        "Journal of the Royal Statistical Society, Series B",
        *(1995, "57", "1", "289–300", "10.1111/j.2517-6161.1995.tb02031.x"),
    ),
    Citation(
        "benjamini2006",
        ("Benjamini Y", "Krieger AM", "Yekutieli D"),
        "Adaptive linear step-up procedures that control the false discovery rate",
        "Biometrika",
        *(2006, "93", "3", "491–507", "10.1093/biomet/93.3.491"),
    ),
    Citation(
        "efron1987",
        ("Efron B",),
        "Better bootstrap confidence intervals",
        "Journal of the American Statistical Association",
        *(1987, "82", "397", "171–185", "10.1080/01621459.1987.10478410"),
    ),
    Citation(
        "pratt1959",
        ("Pratt JW",),
        "Remarks on zeros and ties in the Wilcoxon signed rank procedures",
        "Journal of the American Statistical Association",
        *(1959, "54", "287", "655–667", "10.1080/01621459.1959.10501526"),
    ),
    Citation(
        "virtanen2020",
        ("Virtanen P", "Gommers R", "Oliphant TE"),
        "SciPy 1.0: fundamental algorithms for scientific computing in Python",
        "Nature Methods",
        *(2020, "17", "", "261–272", "10.1038/s41592-019-0686-2"),
        complete=False,
    ),
)
CITATIONS = {citation.key: citation for citation in _ALL}
