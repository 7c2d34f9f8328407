"""Lists of first names, full Chinese names, cities and countries, each of which can replace another of its list.

Words that also mean something else are left out, such as the names Mark, Rose and Will and the country Turkey.
"""

ENGLISH_NAMES = (
    ("Alice", "Amanda", "Anna", "Barbara", "Caroline", "Emily", "Emma", "Fatima", "Jennifer", "Jessica", "Julia")
    + ("Laura", "Maria", "Michelle", "Priya", "Rachel", "Sarah", "Sophie", "Susan", "Yasmin"),
    ("Ahmed", "Alexander", "Andrew", "Brian", "Carlos", "Daniel", "David", "Edward", "George", "James", "John")
    + ("Kevin", "Michael", "Mohammed", "Paul", "Peter", "Raj", "Robert", "Simon", "Thomas"),
)
ENGLISH_PLACES = (
    ("Amsterdam", "Barcelona", "Berlin", "Boston", "Chicago", "Copenhagen", "Dublin", "Glasgow", "Hamburg", "London")
    + ("Madrid", "Manchester", "Melbourne", "Milan", "Munich", "New York", "Oslo", "Paris", "Stockholm", "Sydney")
    + ("Tokyo", "Toronto", "Vienna", "Warsaw", "Zurich"),
    ("Australia", "Austria", "Belgium", "Brazil", "Canada", "Denmark", "Finland", "France", "Germany", "India")
    + ("Ireland", "Italy", "Japan", "Mexico", "Norway", "Poland", "Portugal", "Spain", "Sweden", "Switzerland"),
)
CHINESE_NAMES = (
    (
        "张伟",
        "王伟",
        "李伟",
        "刘伟",
        "张勇",
        "李强",
        "王磊",
        "张磊",
        "刘洋",
        "李军",
        "王强",
        "张强",
        "陈杰",
        "王勇",
        "李杰",
    ),
    (
        "王芳",
        "李娜",
        "张敏",
        "李静",
        "王静",
        "张丽",
        "王秀英",
        "李秀英",
        "张静",
        "王丽",
        "李敏",
        "刘芳",
        "王敏",
        "李丽",
        "陈静",
    ),
)
CHINESE_PLACES = (
    (
        "北京",
        "上海",
        "广州",
        "深圳",
        "杭州",
        "南京",
        "武汉",
        "成都",
        "重庆",
        "西安",
        "天津",
        "苏州",
        "青岛",
        "厦门",
        "长沙",
    ),
    (
        "法国",
        "德国",
        "英国",
        "日本",
        "韩国",
        "意大利",
        "西班牙",
        "加拿大",
        "澳大利亚",
        "巴西",
        "荷兰",
        "瑞典",
        "波兰",
        "墨西哥",
    ),
)
